import assert from "node:assert/strict";
import test from "node:test";
import { Queue, isIn } from "../../../bot/web/static/studio-queue.js";

// Record slices of these lengths in one take, each in two parts.
function record(queue, ...lengths) {
  const first = queue.begin();
  lengths.forEach((ms, slice) => {
    queue.add(first + slice, ms / 2, false);
    queue.add(first + slice, ms / 2, slice < lengths.length - 1);
  });
}

test("a slice is sent once it is complete, the lowest first", () => {
  const queue = new Queue();
  assert.equal(queue.turn(), null);
  record(queue, 1000, 2000, 5000);
  assert.deepEqual(queue.turn(), { number: 1 });
  queue.drop(1);
  assert.deepEqual(queue.turn(), { number: 2 });
  queue.drop(2);
  assert.equal(queue.turn(), null); // the third goes on
  queue.finish();
  assert.deepEqual(queue.turn(), { number: 3 });
  assert.equal(queue.recordedMs, 8000);
  assert.equal(queue.sentMs, 3000);
  assert.equal(queue.waitingMs, 5000);
});

test("the first part of a slice ends the one before", () => {
  const queue = new Queue();
  queue.add(1, 1000, false);
  queue.add(2, 300, false);
  assert.deepEqual(queue.turn(), { number: 1 });
});

test("numbers run on over takes, pauses and reloads, without a hole", () => {
  const queue = new Queue();
  record(queue, 1000, 2000);
  queue.finish();
  assert.equal(queue.begin(), 3);
  record(queue, 1000);
  const reloaded = new Queue({ next: queue.next, steps: queue.steps, sentMs: 3000 });
  reloaded.add(3, 1000, false); // what the store still has
  assert.equal(reloaded.begin(), 4);
  assert.equal(reloaded.recordedMs, 4000);
});

test("a number that was given away is not given again, also before its first part is stored", () => {
  const queue = new Queue();
  queue.take(1);
  assert.equal(queue.begin(), 2);
});

test("a step is told after what was recorded before it, and before what was recorded after it", () => {
  const queue = new Queue();
  queue.push({ name: "start" });
  record(queue, 1000);
  queue.finish();
  queue.push({ name: "pause" });
  queue.push({ name: "resume" });
  record(queue, 1000);
  queue.finish();
  queue.push({ name: "stop", body: { last: 2 } });
  const order = [];
  for (let turn = queue.turn(); turn; turn = queue.turn()) {
    order.push(turn.number ?? turn.step.name);
    if (turn.step) queue.done(turn.step);
    else queue.drop(turn.number);
  }
  assert.deepEqual(order, ["start", 1, "pause", "resume", 2, "stop"]);
  assert.ok(queue.isEmpty);
});

test("a step waits for a slice that is not complete yet", () => {
  const queue = new Queue();
  record(queue, 1000);
  queue.push({ name: "pause" });
  assert.equal(queue.turn(), null);
  queue.finish();
  assert.deepEqual(queue.turn(), { number: 1 });
});

test("a slice without sound gives its number back", () => {
  const queue = new Queue();
  record(queue, 1000, 300);
  queue.takeBack(2);
  assert.equal(queue.begin(), 2);
  assert.equal(queue.recordedMs, 1000);
});

test("new texts take the place of those that were not told", () => {
  const queue = new Queue();
  queue.push({ name: "texts", body: { title: "A" } });
  queue.push({ name: "texts", body: { title: "B" } });
  assert.deepEqual(queue.steps.map(({ body }) => body.title), ["B"]);
});

test("the phase is the server's, with all that it was not told yet", () => {
  const queue = new Queue();
  assert.equal(queue.phase("waiting"), "waiting");
  queue.push({ name: "start" });
  assert.equal(queue.phase("waiting"), "live");
  queue.push({ name: "pause" });
  queue.push({ name: "texts" });
  assert.equal(queue.phase("live"), "paused");
  queue.push({ name: "stop" });
  assert.equal(queue.phase("live"), "over");
  assert.equal(queue.phase("over"), "over");
});

test("what the server has need not be sent, and numbers go on behind it", () => {
  const queue = new Queue();
  record(queue, 1000, 1000, 1000);
  assert.deepEqual(queue.learn([[1, 1], [3, 3], [6, 9]]), [1]); // the third goes on here
  assert.equal(queue.begin(), 10);
  assert.ok(isIn([[1, 5], [7, 9]], 7));
  assert.ok(!isIn([[1, 5], [7, 9]], 6));
});
