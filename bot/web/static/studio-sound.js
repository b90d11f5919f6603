// The sound of a studio: a microphone becomes slices, which the archive joins to the sample.
//
// A take is one continuous encoding: from start or resume to pause, stop, or the page's end. Its slices come in parts,
// several a second; a slice's file is its parts in a row. By which way a take is recorded is chosen when it begins:
//
// - "webcodecs": the browser's Opus encoder, where it has one. Exact to the sample, silence for what is missing.
// - "webm", "ogg": its recorder, whose Opus packets are put into our pages. Nothing is encoded twice.
// - "mp4": the recorder of Safari before 18.4, whose AAC frames are put into M4A files.
//
// A way may give nothing for seconds before it fails: Firefox's Web Audio stands still where there is no loudspeaker.
//
// Holes in the microphone's sound (a call, a suspended page, dropped frames) become silence of their length, up to ten
// minutes: the sound after them keeps its place, and the take stays one stream (`studio-sound-holes.js`).

import { encode, encodesOpus } from "./studio-sound-webcodecs.js";
import { mimeOf, record } from "./studio-sound-recorder.js";

export { closeTake } from "./studio-sound-closing.js";

const RECORDED = ["webm", "ogg", "mp4"];
const SOON_MS = 300; // in which a way gives sound as a rule; else the next one records as well, so that nothing is missed

// Why a take ended by itself: "device" (the microphone is gone) or "recording" (it can't be encoded any more).
export class TakeError extends Error {
  constructor(reason, cause) {
    super(cause?.message ?? reason, { cause });
    this.reason = reason;
  }
}

// Begins a take of the first audio track of a stream; resolves once it is recorded, and rejects where it can't be.
//
// `onPart` takes { slice, bytes, durationMs, ends, last }: the number of the slice in the take (from 0), the next bytes of
// its file, how long they sound, whether the slice is whole with them, and whether the take is. `onError` takes a
// TakeError when the take ended by itself, after its last part.
//
// The take has `kind`, `mime` (of its slices), and `stop()`, which resolves after the last part.
export async function openTake(stream, handlers, { kind } = {}) {
  const [track] = stream.getAudioTracks();
  if (!track) throw new TakeError("device");
  const [first, ...others] = kind ? [kind] : await kinds();
  const held = heldBack(handlers);
  let spare = null;
  const begin = () => (spare ??= firstOf(track, others, held));
  const slow = others.length ? setTimeout(() => begin().catch(() => {}), SOON_MS) : null;
  try {
    const take = await firstOf(track, [first], handlers, others.length ? SOON_MS : undefined);
    spare?.then((other) => other.stop()).catch(() => {});
    return take;
  } catch (error) {
    if (!others.length) throw error;
    const take = await begin();
    held.letGo();
    return take;
  } finally {
    clearTimeout(slow);
  }
}

// Keeps what a take gives until it is known that it is the one.
function heldBack({ onPart, onError }) {
  let waiting = [];
  const through = (handler) => (what) => (waiting ? waiting.push(() => handler(what)) : handler(what));
  const letGo = () => {
    const all = waiting;
    waiting = null;
    for (const each of all) each();
  };
  return { onPart: through(onPart), onError: through(onError), letGo };
}

// Begins a take in the first of these ways that works.
async function firstOf(track, ways, { onPart, onError }, wakeMs) {
  let cause = null;
  for (const each of ways) {
    try {
      return await begun(track, each, onPart, onError, wakeMs);
    } catch (error) {
      cause = error; // there may be another way
    }
  }
  throw new TakeError(track.readyState === "ended" ? "device" : "recording", cause);
}

async function kinds() {
  return [...((await encodesOpus()) ? ["webcodecs"] : []), ...RECORDED.filter(mimeOf)];
}

async function begun(track, kind, onPart, onError, wakeMs) {
  let open = true; // a way that was given up gives no parts
  let end = null;
  let ending = null;
  let early = null; // how it ended before it had begun
  const handlers = {
    onPart: (part) => open && onPart(part),
    onEnd: (error) => {
      if (end) over(error);
      else early ??= { error };
    },
  };
  const stop = () => (ending ??= end());
  const over = async (error) => {
    if (ending) return;
    let cause = error;
    await stop().catch((failure) => (cause ??= failure));
    onError(new TakeError(cause ? "recording" : "device", cause));
  };
  try {
    end = await (kind === "webcodecs" ? encode(track, handlers, wakeMs) : record(track, kind, handlers));
  } catch (error) {
    open = false;
    throw error;
  }
  if (early) over(early.error);
  return { kind, mime: kind === "mp4" ? "audio/mp4" : "audio/ogg", stop };
}
