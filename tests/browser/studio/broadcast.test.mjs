import assert from "node:assert/strict";
import { createServer } from "node:http";
import test from "node:test";
import { Broadcast } from "../../../bot/web/static/studio-broadcast.js";

const DAY_MS = 86400000;

globalThis.document = { hidden: false };
globalThis.navigator ??= {};

// A take of one part, whose end comes when it is let go.
class Sound {
  constructor({ onPart }) {
    this.onPart = onPart;
    this.stopped = new Promise((resolve) => (this.let = resolve));
  }

  async stop() {
    await this.stopped;
    this.onPart({ slice: 0, bytes: Uint8Array.of(1), durationMs: 1000, ends: true });
  }
}

// A server that knows one studio, and the broadcast of a page; `answer` may answer in its place.
async function broadcasting(context, { answer = () => null } = {}) {
  const heard = [];
  const state = { state: "waiting", client: null, have: [] };
  const server = createServer((request, response) => {
    const pieces = [];
    request.on("data", (piece) => pieces.push(piece));
    request.on("end", () => {
      const name = request.url.split("/").at(-1);
      if (request.method !== "GET") heard.push(name);
      if (request.method === "POST") {
        state.client = JSON.parse(Buffer.concat(pieces)).client;
        state.state = { start: "live", pause: "paused", resume: "live", stop: "over" }[name];
      }
      const number = Number(name.split("slice-")[1]);
      const [status, said] = answer(name) ?? [200, number ? { number } : state];
      response.writeHead(status, { "Content-Type": "application/json" });
      response.end(JSON.stringify(said));
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const takes = [];
  const microphone = { state: "open", stream: {}, open: async () => Boolean(microphone.stream), close: () => {} };
  let settled = () => {};
  const broadcast = new Broadcast({
    studio: "s",
    base: new URL(`http://127.0.0.1:${server.address().port}/studio/token/`),
    microphone,
    changed: () => settled(),
    takes: async (_, hears) => {
      takes.push(new Sound(hears));
      return takes.at(-1);
    },
  });
  const until = (condition) =>
    new Promise((resolve) => {
      settled = () => condition() && resolve();
      settled();
    });
  context.after(async () => {
    for (const take of takes) take.let();
    await broadcast.leave();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  await broadcast.begin(true);
  return { broadcast, microphone, takes, heard, until };
}

test("a key that is pressed twice begins one take, and is told once", async (context) => {
  const { broadcast, takes, heard, until } = await broadcasting(context);
  await Promise.all([broadcast.start({}), broadcast.start({})]);
  assert.equal(takes.length, 1);
  takes[0].let();
  await Promise.all([broadcast.pause(), broadcast.pause()]);
  await Promise.all([broadcast.goOn(), broadcast.goOn()]);
  assert.equal(takes.length, 2);
  takes[1].let();
  await Promise.all([broadcast.stop(), broadcast.stop()]);
  await until(() => broadcast.queue.isEmpty);
  assert.deepEqual(heard, ["start", "slice-1", "pause", "resume", "slice-2", "stop"]);
});

test("a broadcast that is as large as it may be records no more, and is ended", async (context) => {
  let full = true;
  const answer = (name) => (full && name.startsWith("slice") ? [507, { problem: "broadcast_full" }] : null);
  const { broadcast, microphone, takes, heard, until } = await broadcasting(context, { answer });
  let closed = 0;
  microphone.close = () => (closed += 1);
  await broadcast.start({});
  takes[0].onPart({ slice: 0, bytes: Uint8Array.of(1), durationMs: 1000, ends: true });
  takes[0].let();
  await until(() => broadcast.capped && !broadcast.take && closed);
  assert.equal(broadcast.record.capped, true); // also for the page that is loaded again
  await broadcast.goOn();
  assert.equal(takes.length, 1);
  assert.equal(broadcast.phase, "live");
  full = false;
  await broadcast.stop();
  await until(() => broadcast.queue.isEmpty);
  assert.equal(heard.at(-1), "stop");
});

test("sound that does not come is known, and so is that it comes again", async (context) => {
  const { broadcast, microphone, takes } = await broadcasting(context);
  const part = { slice: 0, bytes: Uint8Array.of(1), durationMs: 200, ends: false };
  assert.equal(broadcast.isSilent, false);
  await broadcast.start({});
  assert.equal(broadcast.isSilent, false); // the take still begins
  broadcast.take.heardAt -= 4000;
  assert.equal(broadcast.isSilent, false);
  broadcast.take.heardAt -= 4000;
  assert.equal(broadcast.isSilent, true);
  takes[0].onPart(part);
  assert.equal(broadcast.isSilent, false);
  broadcast.take.heardAt -= 4000;
  assert.equal(broadcast.isSilent, true);
  takes[0].onPart(part);
  assert.equal(broadcast.isSilent, false);
  microphone.isHeld = true;
  assert.equal(broadcast.isSilent, true);
});

test("a number is kept once its sound is, so that a page that dies leaves no hole", async (context) => {
  const { broadcast, takes, until } = await broadcasting(context);
  await broadcast.start({});
  const { store } = broadcast;
  const put = store.put.bind(store);
  let write;
  const free = new Promise((resolve) => (write = resolve));
  const kept = [];
  store.put = async (part) => {
    if (part.number === 2) await free;
    return put(part);
  };
  store.save = async ({ next }) => kept.push(next);
  const part = { bytes: Uint8Array.of(1), durationMs: 1000 };
  takes[0].onPart({ ...part, slice: 0, ends: true });
  takes[0].onPart({ ...part, slice: 1, ends: false });
  await until(() => kept.length);
  write();
  assert.equal(kept[0], 2);
  await until(() => kept.includes(3));
});

test("a pause is shown at once, and nothing records before it is told", async (context) => {
  const { broadcast, takes, heard, until } = await broadcasting(context);
  await broadcast.start({});
  const paused = broadcast.pause();
  assert.equal(broadcast.phase, "paused");
  const on = broadcast.goOn(); // while the take still ends
  await new Promise(setImmediate);
  assert.equal(takes.length, 1);
  takes[0].let();
  await Promise.all([paused, on]);
  assert.equal(takes.length, 2);
  assert.equal(broadcast.phase, "live");
  takes[1].let();
  await broadcast.stop();
  await until(() => broadcast.queue.isEmpty);
  assert.deepEqual(heard, ["start", "slice-1", "pause", "resume", "slice-2", "stop"]);
});

test("a microphone that is given after another tab has taken over records nothing", async (context) => {
  const { broadcast, microphone, takes, heard } = await broadcasting(context);
  let give = () => {};
  microphone.open = () => new Promise((resolve) => (give = resolve));
  let closed = 0;
  const begun = broadcast.start({});
  await broadcast.leave();
  microphone.close = () => (closed += 1);
  give(true);
  await begun;
  assert.deepEqual([takes.length, closed, heard], [0, 1, []]);
});

test("only a page that was there lately goes on by itself, whatever became of the clock", async (context) => {
  const { broadcast, until } = await broadcasting(context);
  await broadcast.start({});
  await until(() => broadcast.server?.client);
  for (const [ago, recent] of [[1000, true], [DAY_MS, false], [-DAY_MS, false]]) {
    broadcast.record.seenAt = Date.now() - ago;
    assert.equal(broadcast.isRecent, recent, `${ago} ms ago`);
  }
});

test("a proxy whose bot is away ends nothing, a studio that never was does", async (context) => {
  let said = null;
  const { broadcast } = await broadcasting(context, { answer: (name) => (name === "state" ? said : null) });
  for (said of [[404, "no such page"], [404, {}], [410, "gone"], [410, null], [200, {}], [200, "back soon"], [200, null]]) {
    await broadcast.look();
    assert.deepEqual([broadcast.closed, broadcast.failing], [null, true]);
  }
  said = [404, { problem: "unknown" }];
  await broadcast.look();
  assert.equal(broadcast.closed, "there");
});
