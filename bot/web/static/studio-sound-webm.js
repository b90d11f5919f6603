// WebM (EBML, RFC 8794; Matroska, RFC 9559) as recorders stream it, read as it comes: the head and the packets of its
// Opus track. Sizes of segments and clusters may be unknown, so elements that hold others are entered and never left.

import { Incoming, Unreadable, text, viewOf } from "./studio-sound-bytes.js";
import { RATE, readHead } from "./studio-sound-opus.js";

const SEGMENT = 0x18538067;
const CLUSTER = 0x1f43b675;
const INFO = 0x1549a966;
const TRACKS = 0x1654ae6b;
const TRACK = 0xae;
const GROUP = 0xa0;
const ENTERED = new Set([SEGMENT, CLUSTER, INFO, TRACKS, TRACK, GROUP]);
const SCALE = 0x2ad7b1;
const NUMBER = 0xd7;
const CODEC = 0x86;
const PRIVATE = 0x63a2;
const TIME = 0xe7;
const SIMPLE = 0xa3;
const BLOCK = 0xa1;
const PADDING = 0x75a2;
const READ = new Set([SCALE, NUMBER, CODEC, PRIVATE, TIME, SIMPLE, BLOCK, PADDING]);
const XIPH = 1;
const FIXED = 2;

export class WebmReader {
  // `onHead` takes the OpusHead packet; `onPacket` a packet, and when it was recorded (samples) where that is told;
  // `onTrim` the samples at the end of the last packet that are no sound.
  constructor({ onHead, onPacket, onTrim }) {
    Object.assign(this, { onHead, onPacket, onTrim });
    this.incoming = new Incoming();
    this.scale = 1e6; // nanoseconds
    this.time = 0;
    this.track = null; // of Opus
    this.entry = {};
  }

  // Takes bytes in. Throws Unreadable.
  push(bytes) {
    this.incoming.push(bytes);
    while (this.element());
  }

  end() {}

  // Reads one element, if it is here; returns whether it was.
  element() {
    const waiting = this.incoming.bytes;
    const name = vint(waiting, 0, true);
    const size = name && vint(waiting, name.length, false);
    if (!size || this.incoming.skipping) return false;
    const head = name.length + size.length;
    if (ENTERED.has(name.value)) {
      if (name.value === TRACK) this.entry = {};
      this.incoming.take(head);
      return true;
    }
    if (size.value === null) throw new Unreadable("an element of the recording has no size");
    if (!READ.has(name.value)) {
      this.incoming.skip(head + size.value);
      return true;
    }
    if (waiting.length < head + size.value) {
      this.incoming.expect(head + size.value);
      return false;
    }
    this.incoming.take(head);
    this.read(name.value, this.incoming.take(size.value));
    return true;
  }

  read(name, content) {
    if (name === SCALE) this.scale = unsigned(content) || 1e6;
    if (name === TIME) this.time = unsigned(content);
    if (name === NUMBER) this.described({ number: unsigned(content) });
    if (name === CODEC) this.described({ opus: text(content, 0, 7) === "A_OPUS" });
    if (name === PRIVATE) this.described({ head: content });
    if (name === SIMPLE || name === BLOCK) this.block(content);
    if (name === PADDING) this.onTrim(Math.round((signed(content) * RATE) / 1e9));
  }

  // Takes a detail of the track that is being described; they come in any order.
  described(detail) {
    Object.assign(this.entry, detail);
    const { number, opus, head } = this.entry;
    if (this.track !== null || !number || !opus || !head) return;
    readHead(head);
    this.track = number;
    this.onHead(head);
  }

  block(content) {
    const track = vint(content, 0, false);
    if (!track || content.length < track.length + 3) throw new Unreadable("a block is cut off");
    if (this.track === null) throw new Unreadable("there is no Opus track");
    if (track.value !== this.track) return;
    const at = track.length;
    const offset = viewOf(content).getInt16(at);
    const clock = ((this.time + offset) * this.scale * RATE) / 1e9;
    const frames = laced(content.subarray(at + 3), (content[at + 2] >> 1) & 3);
    frames.forEach((packet, index) => this.onPacket(packet.slice(), index ? null : clock));
  }
}

// Returns the frames of a block (RFC 9559, section 10.3).
function laced(content, lacing) {
  if (!lacing) return [content];
  if (!content.length) throw new Unreadable("a block has no lacing");
  const count = content[0] + 1;
  if (lacing === FIXED) {
    const each = (content.length - 1) / count;
    if (!Number.isInteger(each)) throw new Unreadable("the frames of a block are not of one size");
    return Array.from({ length: count }, (_, index) => content.subarray(1 + index * each, 1 + (index + 1) * each));
  }
  const { sizes, at } = lacing === XIPH ? xiphSizes(content, count) : ebmlSizes(content, count);
  const last = content.length - at - sizes.reduce((sum, size) => sum + size, 0);
  if (sizes.some((size) => size < 0) || last < 0) throw new Unreadable("the frames of a block are too long");
  let begin = at;
  return [...sizes, last].map((size) => content.subarray(begin, (begin += size)));
}

function xiphSizes(content, count) {
  const sizes = [];
  let at = 1;
  while (sizes.length < count - 1) {
    let size = 0;
    while (content[at] === 255) {
      size += 255;
      at += 1;
    }
    if (at >= content.length) throw new Unreadable("the lacing of a block is cut off");
    sizes.push(size + content[at]);
    at += 1;
  }
  return { sizes, at };
}

function ebmlSizes(content, count) {
  const sizes = [];
  let at = 1;
  while (sizes.length < count - 1) {
    const coded = vint(content, at, false);
    if (!coded || coded.value === null) throw new Unreadable("the lacing of a block is cut off");
    const middle = 2 ** (7 * coded.length - 1) - 1; // later sizes are differences
    sizes.push(sizes.length ? sizes.at(-1) + coded.value - middle : coded.value);
    at += coded.length;
  }
  return { sizes, at };
}

// Reads a number of variable length (RFC 8794, section 4): null where it is not all here, its value null where all its
// bits are set, which means unknown. Names keep their marker.
function vint(bytes, at, marked) {
  if (at >= bytes.length) return null;
  const length = Math.clz32(bytes[at]) - 23;
  if (length > (marked ? 4 : 8)) throw new Unreadable("the recording is no EBML");
  if (at + length > bytes.length) return null;
  let value = marked ? bytes[at] : bytes[at] & (0xff >> length);
  let unknown = value === 0xff >> length;
  for (const byte of bytes.subarray(at + 1, at + length)) {
    value = value * 256 + byte;
    unknown &&= byte === 0xff;
  }
  return { value: unknown && !marked ? null : value, length };
}

const unsigned = (bytes) => bytes.reduce((value, byte) => value * 256 + byte, 0);

const signed = (bytes) => unsigned(bytes) - (bytes[0] & 0x80 ? 256 ** bytes.length : 0);
