// The sound of a track as samples: one channel, 48 kHz, with the length of each hole before it.
//
// Two ways. The frames of the track itself (MediaStreamTrackProcessor) come on the microphone's own clock, and say when
// they were recorded. Where a browser has none, or the track has another rate, Web Audio gives samples at our rate.

import { Holes } from "./studio-sound-holes.js";
import { RATE } from "./studio-sound-opus.js";

const START_MS = 5000; // in which there is sound, or none comes
const WORKLET = "./studio-sound-worklet.js";

// Listens to a track; resolves once it is heard. `onSound` takes samples (Float32Array) and the samples that are missing
// before them; `onEnd` an error, or nothing where the track ended. `wakeMs`: in which Web Audio runs or is given up: what
// is said before it runs is lost. Returns a function that ends it.
export async function listen(track, handlers, wakeMs = START_MS) {
  const own = globalThis.MediaStreamTrackProcessor && (track.getSettings().sampleRate ?? RATE) === RATE;
  return (own && (await byFrames(track, handlers))) || byWorklet(track, handlers, wakeMs);
}

// ---- the frames of the track

// Returns null where the frames have another rate.
async function byFrames(track, { onSound, onEnd }) {
  const reader = new MediaStreamTrackProcessor({ track, maxBufferSize: 500 }).readable.getReader();
  const first = await inTime(reader.read()).catch(async (error) => {
    await reader.cancel();
    throw error;
  });
  if (first.done) throw new Error("the microphone gives no sound");
  if (first.value.sampleRate !== RATE) {
    first.value.close();
    await reader.cancel();
    return null;
  }
  let stopped = false;
  const holes = new Holes();
  let count = 0;
  const take = (frame) => {
    const clock = (frame.timestamp * RATE) / 1e6;
    const rate = frame.sampleRate;
    const samples = mono(frame);
    frame.close();
    if (rate !== RATE) throw new Error("the rate of the microphone has changed");
    const hole = holes.before(clock, count);
    holes.fill(hole);
    count += samples.length;
    onSound(samples, hole);
  };
  const go = async () => {
    for (let next = first; !next.done; next = await reader.read()) {
      if (stopped) next.value.close();
      else take(next.value);
    }
  };
  const ended = (error) => stopped || onEnd(error ?? null);
  const gone = () => ended();
  go().then(gone, ended);
  track.addEventListener("ended", gone); // not all browsers end the frames then
  return async () => {
    stopped = true;
    track.removeEventListener("ended", gone);
    await reader.cancel();
  };
}

function mono(frame) {
  const { numberOfChannels: channels, numberOfFrames: length } = frame;
  const samples = new Float32Array(length);
  const plane = new Float32Array(length);
  for (let planeIndex = 0; planeIndex < channels; planeIndex += 1) {
    frame.copyTo(plane, { planeIndex, format: "f32-planar" });
    for (let at = 0; at < length; at += 1) samples[at] += plane[at] / channels;
  }
  return samples;
}

// ---- Web Audio

// The moment at which a block was taken is told by two clocks: that of the worklet, which may be set, and ours, which is
// late when the page is busy. Only what both say is a hole.
async function byWorklet(track, { onSound, onEnd }, wakeMs) {
  const context = new AudioContext({ sampleRate: RATE, latencyHint: "playback" });
  try {
    const module = context.audioWorklet.addModule(new URL(WORKLET, import.meta.url));
    await inTime(Promise.all([context.resume(), module]), wakeMs);
    const tap = new AudioWorkletNode(context, "studio-tap", { outputChannelCount: [1] });
    const source = context.createMediaStreamSource(new MediaStream([track]));
    const [theirs, ours] = [new Holes(), new Holes()];
    let count = 0;
    const heard = new Promise((resolve, reject) => {
      tap.onprocessorerror = () => {
        reject(new Error("the microphone can't be read"));
        onEnd(new Error("the microphone can't be read"));
      };
      tap.port.onmessage = ({ data: { samples, clock } }) => {
        const hole = holeOf(theirs, ours, [clock, performance.now()], count);
        count += samples.length;
        onSound(samples, hole);
        resolve();
      };
      source.connect(tap).connect(context.destination); // what is not connected is not asked for sound; it plays none
    });
    await inTime(heard);
    const ended = () => onEnd(null);
    const awake = () => context.state !== "closed" && context.resume().catch(() => {});
    track.addEventListener("ended", ended);
    context.addEventListener("statechange", awake);
    document.addEventListener("visibilitychange", awake);
    return async () => {
      track.removeEventListener("ended", ended);
      context.removeEventListener("statechange", awake);
      document.removeEventListener("visibilitychange", awake);
      tap.port.onmessage = null;
      tap.port.postMessage("stop");
      await context.close();
    };
  } catch (error) {
    await context.close();
    throw error;
  }
}

function holeOf(theirs, ours, clocks, count) {
  const [one, other] = clocks.map((ms) => (ms * RATE) / 1000);
  const [most, sure] = [theirs.before(one, count), ours.before(other, count)];
  const hole = Math.min(most, sure);
  theirs.fill(hole);
  ours.fill(hole);
  if (most && !sure) theirs.forget();
  return hole;
}

// Waits for the beginning, and not for ever: there are other ways.
function inTime(beginning, withinMs = START_MS) {
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error("the microphone gives no sound")), withinMs);
  });
  return Promise.race([beginning, late]);
}
