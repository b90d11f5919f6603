import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { barOf, clockOf, filled, keysOf, lengthOf, levelOf, networkOf, stateOf, troubleOf } from "../../../bot/web/static/studio-words.js";

const server = { state: "waiting", client: null };
const usual = { support: "yes", tab: true, server, client: "me", phase: "waiting", take: false, mic: "open", rehearsal: null };
const live = { ...usual, server: { state: "live", client: "me" }, phase: "live" };
const STATES = {
  old: { ...usual, support: "old" },
  insecure: { ...usual, support: "insecure" },
  loading: { ...usual, server: null },
  unreachable: { ...usual, server: null, failing: true },
  closed: { ...usual, server: null, closed: "there" },
  tab: { ...live, tab: false },
  device: { ...live, client: "other" },
  ready: usual,
  refused: { ...usual, mic: "refused" },
  none: { ...usual, mic: "none" },
  busy: { ...usual, mic: "busy" },
  asking: { ...usual, mic: "asking" },
  rehearsing: { ...usual, rehearsal: "rehearsing" },
  rehearsed: { ...usual, rehearsal: "rehearsed" },
  starting: { ...usual, phase: "live", take: true },
  live: { ...live, take: true },
  paused: { ...live, phase: "paused", mic: "open" },
  interrupted: { ...live, mic: "unknown" },
  lost: { ...live, mic: "lost" },
  capped: { ...live, capped: true, mic: "unknown" },
  ended: { ...live, phase: "over", stopped: true },
  "closed-by-room": { ...live, phase: "over", closed: "here" },
};

test("each situation has its state", () => {
  for (const [state, situation] of Object.entries(STATES)) assert.equal(stateOf(situation), state);
});

test("a microphone that can't be had is said while a broadcast waits for it, too", () => {
  assert.equal(stateOf({ ...live, mic: "refused" }), "refused");
  assert.deepEqual(keysOf("refused", "live"), ["retry", "stop"]);
  assert.deepEqual(keysOf("refused", "waiting"), ["retry"]);
});

test("the page has the words of each state, and each button", async () => {
  const page = await readFile(new URL("../../../bot/web/templates/studio.html", import.meta.url), "utf8");
  for (const state of Object.keys(STATES)) {
    assert.ok(page.includes(`data-say-${state}=`), state);
    assert.ok(page.includes(`data-tell-${state}=`), state);
    for (const key of keysOf(state, "live")) assert.ok(page.includes(`data-do="${key}"`), key);
  }
});

test("the script finds the words that it asks for on the page", async () => {
  const page = await readFile(new URL("../../../bot/web/templates/studio.html", import.meta.url), "utf8");
  const script = await readFile(new URL("../../../bot/web/static/studio.js", import.meta.url), "utf8");
  const asked = [...script.matchAll(/\bsay\("([\w-]+)"/g)].map(([, name]) => name);
  assert.ok(asked.length > 5);
  for (const name of asked) assert.ok(page.includes(`data-say-${name}=`), name);
});

test("what the network does is said by what waits and why", () => {
  const well = { online: true, failing: null, full: false, catching: false, waitingMs: 0, recording: true };
  const text = (about) => networkOf({ ...well, ...about }).text;
  assert.equal(text({}), "net-sending");
  assert.equal(text({ waitingMs: 5000 }), "net-sending"); // a slice is on its way
  assert.equal(text({ waitingMs: 12000 }), "net-waiting");
  assert.equal(text({ waitingMs: 12000, catching: true }), "net-catching");
  assert.equal(text({ online: false, waitingMs: 12000 }), "net-offline");
  assert.equal(text({ failing: "network" }), "net-offline");
  assert.equal(text({ failing: "server" }), "net-server");
  assert.equal(text({ full: "room" }), "net-room-full");
  assert.equal(text({ full: "disk", failing: null }), "net-disk-full");
  assert.equal(text({ recording: false }), "net-sent");
  assert.equal(text({ recording: false, waitingMs: 3000 }), "net-waiting");
  assert.equal(text({ recording: false, telling: true }), "net-telling"); // its end is not known yet
});

test("the page has the words of each trouble, and of its end", async () => {
  const page = await readFile(new URL("../../../bot/web/templates/studio.html", import.meta.url), "utf8");
  const troubles = { "net-offline": "gone", "net-server": "gone", "net-room-full": "space", "net-disk-full": "space", "net-sending": null };
  for (const [text, trouble] of Object.entries(troubles)) {
    assert.equal(troubleOf(text), trouble);
    for (const name of [text, ...(trouble ? [`net-${trouble}`, `net-${trouble}-back`] : [])]) assert.ok(page.includes(`data-say-${name}=`), name);
  }
});

test("lengths, levels and clocks are short", () => {
  assert.deepEqual(lengthOf(12400), { text: "seconds", n: 12 });
  assert.deepEqual([0, 0.4, 300, 1600].map((ms) => lengthOf(ms).n), [0, 1, 1, 2]);
  assert.deepEqual(lengthOf(180000), { text: "minutes", n: 3 });
  assert.equal(levelOf(-Infinity), "level-none");
  assert.equal(levelOf(-50), "level-low");
  assert.equal(levelOf(-12), "level-good");
  assert.equal(levelOf(-0.1), "level-high");
  assert.equal(barOf(-Infinity), 0);
  assert.equal(barOf(0), 1);
  assert.equal(clockOf(185000), "3:05");
  assert.equal(clockOf(3723000), "1:02:03");
  assert.equal(filled("{n} of {m}", { n: 1 }), "1 of {m}");
});
