import assert from "node:assert/strict";
import { createServer } from "node:http";
import test from "node:test";
import { Queue } from "../../../bot/web/static/studio-queue.js";
import { Sender } from "../../../bot/web/static/studio-sender.js";

const CLIENT = "me";

// A server that answers in turn what `answers` gives, else 201; and a sender to it.
async function sending(context, { answers = [] } = {}) {
  const heard = [];
  const server = createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      const { status = 201, problem, headers = {}, page } = answers.shift() ?? {};
      const number = Number(request.url.split("slice-")[1]);
      heard.push({ method: request.method, path: request.url, body: Buffer.concat(chunks).toString(), headers: request.headers, status });
      if (!status) return request.socket.destroy();
      response.writeHead(status, { "Content-Type": "application/json", ...headers });
      return response.end(page ?? JSON.stringify(problem ? { problem } : number ? { number } : { state: "live" }));
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const base = new URL(`http://127.0.0.1:${server.address().port}/studio/token/`);
  const queue = new Queue();
  const kept = new Map();
  const store = { parts: async (number) => kept.get(number) };
  let settled = () => {};
  const changed = () => settled();
  const sender = new Sender({ base, client: CLIENT, queue, store, keep: async (number) => kept.delete(number), told: () => {}, changed });
  const slice = (number, text, ms = 1000) => {
    kept.set(number, [...text].map((letter, part) => ({ part, ms: ms / text.length, bytes: new TextEncoder().encode(letter) })));
    queue.add(number, ms, true);
  };
  const until = (condition) =>
    new Promise((resolve) => {
      settled = () => condition() && resolve();
      settled();
    });
  const running = sender.run();
  context.after(async () => {
    sender.close();
    await running;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { sender, queue, kept, heard, slice, until };
}

test("steps and slices go out in order, with the client's name and their lengths", async (context) => {
  const { sender, queue, kept, heard, slice, until } = await sending(context);
  queue.push({ name: "start", body: { title: "T" } });
  slice(1, "abc", 900);
  queue.push({ name: "stop", body: { last: 1 } });
  sender.more();
  await until(() => queue.isEmpty);
  assert.deepEqual(heard.map(({ method, path }) => `${method} ${path}`), [
    "POST /studio/token/start",
    "PUT /studio/token/slice-1",
    "POST /studio/token/stop",
  ]);
  assert.deepEqual(JSON.parse(heard[0].body), { title: "T", client: CLIENT });
  assert.equal(heard[1].body, "abc");
  assert.equal(heard[1].headers["x-client"], CLIENT);
  assert.equal(heard[1].headers["x-duration-ms"], "900");
  assert.deepEqual(JSON.parse(heard[2].body), { last: 1, client: CLIENT });
  assert.equal(kept.size, 0);
});

test("a slice stays until it is acknowledged, and the next waits for it", async (context) => {
  const { sender, queue, kept, heard, slice, until } = await sending(context, { answers: [{ status: 0 }, { status: 503 }, { status: 200 }] });
  slice(1, "a");
  slice(2, "b");
  sender.more();
  await until(() => sender.failing === "network");
  assert.equal(kept.size, 2);
  sender.nudge();
  await until(() => sender.failing === "server");
  sender.nudge();
  await until(() => queue.isEmpty && !sender.catching);
  assert.deepEqual(heard.map(({ path, status }) => [path.at(-1), status]), [["1", 0], ["1", 503], ["1", 200], ["2", 201]]);
  assert.equal(sender.failing, null);
});

test("a server that knows of no broadcast is told again that it has begun", async (context) => {
  const { sender, queue, heard, slice, until } = await sending(context, { answers: [{ status: 409, problem: "waiting" }] });
  slice(1, "a");
  sender.more();
  await until(() => queue.isEmpty);
  assert.deepEqual(heard.map(({ path }) => path.split("/").at(-1)), ["slice-1", "start", "slice-1"]);
});

test("a proxy's page is no acknowledgement, whatever its status", async (context) => {
  for (const page of ["<!doctype html><p>Back soon", "{}", "null", '{"number": 2}']) {
    const { sender, queue, kept, slice, until } = await sending(context, { answers: [{ status: 200, page }] });
    slice(1, "a");
    sender.more();
    await until(() => sender.failing === "server");
    assert.deepEqual([kept.size, sender.lost], [1, 0]);
    sender.nudge();
    await until(() => queue.isEmpty);
  }
});

test("what will never be taken is counted, and does not hold up the rest", async (context) => {
  const { sender, queue, slice, until } = await sending(context, { answers: [{ status: 413, problem: "too_large" }] });
  slice(1, "a");
  slice(2, "b");
  sender.more();
  await until(() => queue.isEmpty);
  assert.equal(sender.lost, 1);
});

test("a room and a disk that are full are told apart, and what waits is sent when there is space", async (context) => {
  for (const [problem, full] of [["room_full", "room"], ["disk_full", "disk"], [undefined, "disk"]]) {
    const { sender, queue, slice, until } = await sending(context, { answers: [{ status: 507, problem }] });
    slice(1, "a");
    sender.more();
    await until(() => sender.full);
    assert.deepEqual([sender.full, sender.failing, sender.capped], [full, null, false]);
    sender.nudge();
    await until(() => queue.isEmpty);
    assert.deepEqual([sender.full, sender.lost], [null, 0]);
  }
});

test("a broadcast that is as large as it may be takes no slice, and can be ended", async (context) => {
  const refused = { status: 507, problem: "broadcast_full" };
  const { sender, queue, heard, slice, until } = await sending(context, { answers: [refused, refused] });
  slice(1, "a");
  slice(2, "b");
  queue.push({ name: "stop", body: { last: 2 } });
  sender.more();
  await until(() => queue.isEmpty);
  assert.deepEqual([sender.capped, sender.lost, sender.full], [true, 2, null]);
  assert.equal(heard.at(-1).path, "/studio/token/stop");
});

test("nothing more is sent once another page has it, or it is over", async (context) => {
  for (const [status, problem] of [[409, "elsewhere"], [410, "over"]]) {
    const { sender, queue, heard, slice, until } = await sending(context, { answers: [{ status, problem }] });
    slice(1, "a");
    slice(2, "b");
    sender.more();
    await until(() => sender.ended === problem);
    assert.equal(heard.length, 1);
    assert.ok(!queue.isEmpty);
  }
});
