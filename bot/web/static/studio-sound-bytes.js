// Bytes that come in pieces, and what can be wrong with them.

const MOST_WAITING = 16 * 1024 * 1024; // bytes of one element, box or page that is not whole yet

// Recorded sound that can't be read.
export class Unreadable extends Error {}

export function joined(pieces) {
  const whole = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

export const ascii = (text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

export const text = (bytes, at, length) => String.fromCharCode(...bytes.subarray(at, at + length));

export const viewOf = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

export const same = (one, other) => one.length === other.length && one.every((byte, at) => byte === other[at]);

// The bytes of a stream that were not read yet. `at`: where they begin in the stream.
export class Incoming {
  constructor() {
    this.at = 0;
    this.bytes = new Uint8Array(0);
    this.skipping = 0;
  }

  // Adds bytes. Throws Unreadable when too many wait for the end of one thing.
  push(bytes) {
    const skipped = Math.min(this.skipping, bytes.length);
    this.skipping -= skipped;
    if (!this.bytes.length) this.at += skipped;
    if (this.bytes.length + bytes.length - skipped > MOST_WAITING) throw new Unreadable("a part of the sound is too large");
    this.bytes = joined([this.bytes, bytes.subarray(skipped)]);
  }

  get length() {
    return this.bytes.length;
  }

  // Waits for so many bytes. Throws Unreadable when they are too many.
  expect(count) {
    if (count > MOST_WAITING) throw new Unreadable("a part of the sound is too large");
  }

  // Returns the first bytes, and leaves the others.
  take(count) {
    const taken = this.bytes.subarray(0, count);
    this.bytes = this.bytes.subarray(count);
    this.at += count;
    return taken;
  }

  // Leaves out the first bytes, also those that are not here yet.
  skip(count) {
    const here = Math.min(count, this.length);
    this.take(here);
    this.skipping += count - here;
  }
}
