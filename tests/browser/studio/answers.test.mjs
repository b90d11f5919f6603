import assert from "node:assert/strict";
import test from "node:test";
import { MOST_MS, judge, pauseMs, retryAfterOf } from "../../../bot/web/static/studio-answers.js";

test("each answer leads to one thing", () => {
  const cases = [
    [201, null, "done"],
    [200, null, "done"],
    [0, null, "again"],
    [404, null, "again"], // a proxy that restarts says so; the state tells whether it is true
    [409, "elsewhere", "elsewhere"],
    [409, "waiting", "start"],
    [409, "other_bytes", "refused"],
    [410, "over", "over"],
    [413, "too_large", "refused"],
    [413, null, "again"], // the bot says why
    [400, null, "again"],
    [410, null, "again"],
    [502, null, "again"],
    [503, null, "again"],
    [507, "room_full", "full"],
    [507, "disk_full", "full"],
    [507, null, "full"], // a proxy's
    [507, "broadcast_full", "capped"],
  ];
  for (const [status, problem, verdict] of cases) assert.equal(judge(status, problem), verdict, `${status} ${problem}`);
  assert.equal(judge(429, "too_many", 5), "again");
  assert.equal(judge(429, "too_many"), "capped"); // as many slices as a recording may have
});

test("pauses grow up to a bound, vary, and are as long as the server asks", () => {
  const pauses = [1, 2, 3, 4, 5, 6, 7, 20].map((tries) => pauseMs("again", tries, null, 0.5));
  assert.deepEqual(pauses, [500, 1000, 2000, 4000, 8000, MOST_MS, MOST_MS, MOST_MS]);
  assert.ok(pauseMs("again", 1, null, 0) < pauseMs("again", 1, null, 1));
  assert.equal(pauseMs("again", 1, 30, 0.5), 30000);
  assert.ok(pauseMs("full", 1, null, 0.5) >= 30000);
});

test("Retry-After is read as seconds", () => {
  assert.equal(retryAfterOf("30"), 30);
  assert.equal(retryAfterOf(null), null);
  assert.equal(retryAfterOf("Wed, 21 Oct 2026 07:28:00 GMT"), null);
});
