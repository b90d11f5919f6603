// A take by the browser's recorder (MediaRecorder), whose file is repacked while it grows.

import { repacking } from "./studio-sound-repacking.js";

const EACH_MS = 250;
const BITS = 64_000;
const MIMES = {
  webm: ["audio/webm;codecs=opus"],
  ogg: ["audio/ogg;codecs=opus"],
  mp4: ["audio/mp4;codecs=mp4a.40.2", "audio/mp4"],
};

// Returns the type that the recorder of this browser writes; undefined for none of this kind.
export const mimeOf = (kind) => globalThis.MediaRecorder && MIMES[kind].find((mime) => MediaRecorder.isTypeSupported(mime));

// Begins a take; resolves to a function that ends it. `onEnd` takes an error, or null where the track ended.
export async function record(track, kind, { onPart, onEnd }) {
  const repacked = repacking(kind, onPart);
  const recorder = new MediaRecorder(new MediaStream([track]), { mimeType: mimeOf(kind), audioBitsPerSecond: BITS });
  let waiting = Promise.resolve(); // blobs are read one after the other
  let failed = false;
  const take = async (blob) => {
    if (!failed) repacked.push(new Uint8Array(await blob.arrayBuffer()));
  };
  const fail = (error) => {
    if (!failed) onEnd(error);
    failed = true;
  };
  recorder.ondataavailable = ({ data }) => (waiting = waiting.then(() => take(data)).catch(fail));
  const stopped = new Promise((resolve) => (recorder.onstop = resolve));
  stopped.then(() => onEnd(null)); // by itself, where the track ended
  await new Promise((resolve, reject) => {
    recorder.onstart = resolve;
    recorder.onerror = ({ error }) => {
      reject(error);
      fail(error);
    };
    recorder.start(EACH_MS);
  });
  return async () => {
    if (recorder.state !== "inactive") recorder.stop();
    await stopped;
    await waiting;
    repacked.end();
  };
}
