// A take by WebCodecs: Opus, one channel, 48 kHz, packets of 20 ms. How many samples there are is known exactly: those
// that went in, behind the encoder's delay, which its description states as pre-skip.
//
// Short holes are encoded as silence. Of a long one only the beginning and the end are, so that the encoder forgets what
// was before, and the decoder as well; between them stand packets that decode to zeros.

import { listen } from "./studio-sound-input.js";
import { RATE, UNIT, USUAL_PRE_SKIP, readHead, samplesOf, silence, writeHead } from "./studio-sound-opus.js";
import { OggSlices } from "./studio-sound-slices.js";

const PACKET = 960;
const SETTLED = 4800; // samples of silence before and after those that are not encoded
const OPUS = { frameDuration: 20_000, application: "audio", complexity: 9, usedtx: false, useinbandfec: false };
const CONFIG = { codec: "opus", sampleRate: RATE, numberOfChannels: 1, bitrate: 56_000, bitrateMode: "variable", opus: OPUS };

// Returns whether this browser encodes Opus.
export async function encodesOpus() {
  if (!globalThis.AudioEncoder || !globalThis.AudioData) return false;
  const answer = await AudioEncoder.isConfigSupported(CONFIG).catch(() => null);
  return Boolean(answer?.supported);
}

// Begins a take; resolves to a function that ends it. `onEnd` takes an error, or null where the track ended. `wakeMs`: see
// `listen`.
export async function encode(track, { onPart, onEnd }, wakeMs) {
  const encoding = new Encoding(onPart, onEnd);
  try {
    const unheard = await listen(track, { onSound: (samples, hole) => encoding.put(samples, hole), onEnd }, wakeMs);
    return async () => {
      await unheard();
      await encoding.end();
    };
  } catch (error) {
    encoding.close();
    throw error;
  }
}

export class Encoding {
  constructor(onPart, onFailure) {
    this.onPart = onPart;
    this.onFailure = onFailure;
    this.slices = null;
    this.preSkip = USUAL_PRE_SKIP;
    this.fed = 0; // samples that went into the encoder
    this.given = 0; // samples in the packets that came out of it
    this.sound = null; // samples of the whole take, once it ends
    this.inserts = []; // silence between packets: { at (samples that went in), samples }
    this.encoder = new AudioEncoder({ output: (chunk, about) => this.packet(chunk, about), error: onFailure });
    this.encoder.configure(CONFIG);
  }

  put(samples, hole = 0) {
    if (this.encoder.state !== "configured") return;
    if (hole) this.silent(hole);
    this.feed(samples);
  }

  silent(samples) {
    const between = Math.max(0, Math.floor((samples - 2 * SETTLED) / UNIT) * UNIT);
    if (!between) return this.feed(new Float32Array(samples));
    this.feed(new Float32Array(SETTLED));
    this.inserts.push({ at: this.fed, samples: between });
    this.feed(new Float32Array(samples - between - SETTLED));
  }

  feed(data) {
    if (!data.length) return;
    const timestamp = Math.round((this.fed * 1e6) / RATE);
    const sound = { format: "f32-planar", sampleRate: RATE, numberOfChannels: 1, numberOfFrames: data.length, timestamp, data };
    const frame = new AudioData(sound);
    this.fed += data.length;
    this.encoder.encode(frame);
    frame.close();
  }

  packet(chunk, about) {
    const packet = new Uint8Array(chunk.byteLength);
    chunk.copyTo(packet);
    this.slices ??= this.open(about?.decoderConfig?.description);
    if (this.sound !== null && this.given >= this.whole(this.sound)) return; // encoders add packets at their end
    while (this.inserts.length && this.given >= this.inserts[0].at) {
      const { samples } = this.inserts.shift();
      for (const each of silence(samples)) this.slices.put(each);
    }
    this.slices.put(packet);
    this.given += samplesOf(packet);
  }

  open(description) {
    let head = writeHead(1, USUAL_PRE_SKIP);
    try {
      const view = ArrayBuffer.isView(description) ? description : new DataView(description);
      const told = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
      const { preSkip } = readHead(told);
      this.preSkip = preSkip;
      head = told.slice();
    } catch { /* it states none, or in another form: the usual one stands */ }
    return new OggSlices(head, this.onPart);
  }

  // Returns the samples of the packets that hold so many samples of sound, behind the encoder's delay.
  whole(sound) {
    return Math.ceil((sound + this.preSkip) / PACKET) * PACKET;
  }

  // Encodes what is left, and ends the take after the last sample that went in.
  async end() {
    if (this.encoder.state === "configured") {
      const sound = this.fed;
      this.sound = sound;
      this.feed(new Float32Array(this.whole(sound) - sound));
      await this.encoder.flush().catch(() => {});
      this.slices ??= this.open();
      this.slices.end(Math.max(0, this.given - this.preSkip - sound));
    } else {
      this.slices?.end();
    }
    this.close();
  }

  close() {
    if (this.encoder.state !== "closed") this.encoder.close();
  }
}
