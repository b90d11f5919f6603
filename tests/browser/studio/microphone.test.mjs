import assert from "node:assert/strict";
import test from "node:test";

const track = () => ({ readyState: "live", enabled: true, addEventListener() {}, getSettings: () => ({}), stop() { this.readyState = "ended"; } });

// A browser that asks whether the page may have the microphone; `answer` gives or refuses it.
function browser() {
  const asked = { tracks: [], answer: null };
  const mediaDevices = {
    addEventListener() {},
    enumerateDevices: async () => [],
    getUserMedia: () =>
      new Promise((resolve, reject) => {
        asked.answer = (error) => {
          if (error) return reject(error);
          const one = track();
          asked.tracks.push(one);
          return resolve({ getTracks: () => [one], getAudioTracks: () => [one] });
        };
      }),
  };
  Object.defineProperty(globalThis, "navigator", { value: { mediaDevices, permissions: { query: async () => ({ state: "prompt" }) } }, configurable: true });
  return asked;
}

test("a microphone that is given once it is not wanted any more is not kept", async () => {
  const asked = browser();
  const { Microphone } = await import("../../../bot/web/static/studio-microphone.js");
  const microphone = new Microphone({ changed: () => {}, lost: () => {} });
  for (const refused of [null, Object.assign(new Error("no"), { name: "NotAllowedError" })]) {
    const opened = microphone.open();
    while (!asked.answer) await new Promise(setImmediate);
    microphone.close();
    asked.answer(refused);
    asked.answer = null;
    assert.equal(await opened, false);
    assert.equal(microphone.state, "unknown");
    assert.equal(microphone.stream, null);
  }
  assert.deepEqual(asked.tracks.map(({ readyState }) => readyState), ["ended"]);
  const opened = microphone.open();
  while (!asked.answer) await new Promise(setImmediate);
  asked.answer();
  assert.equal(await opened, true);
  assert.equal(microphone.state, "open");
  assert.equal(asked.tracks.at(-1).readyState, "live");
});
