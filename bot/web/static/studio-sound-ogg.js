// Pages of Ogg (RFC 3533): written, read as they come, and checked.

import { Incoming, Unreadable, ascii, joined, viewOf } from "./studio-sound-bytes.js";

export const CONTINUED = 1;
export const BEGINS = 2;
export const ENDS = 4;
export const NO_GRANULE = -1; // of a page on which no packet ends
export const MOST_LACING = 255; // values on a page
export const MOST_PACKET = 255 * 255 - 1; // bytes that fit into one page

const HEADER = 27; // bytes, before the lacing
const CAPTURE = ascii("OggS");
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte << 24;
  for (let bit = 0; bit < 8; bit += 1) value = (value << 1) ^ (value & 0x80000000 ? 0x04c11db7 : 0);
  return value;
});

export function checksum(bytes) {
  let value = 0;
  for (const byte of bytes) value = (value << 8) ^ TABLE[(value >>> 24) ^ byte];
  return value >>> 0;
}

export const lacingOf = (packet) => Math.floor(packet.length / 255) + 1;

export function writePage({ flags, granule, serial, number, packets }) {
  const lacing = packets.flatMap(({ length }) => [...Array(Math.floor(length / 255)).fill(255), length % 255]);
  const page = joined([new Uint8Array(HEADER), Uint8Array.from(lacing), ...packets]);
  page.set(CAPTURE);
  page[5] = flags;
  page[26] = lacing.length;
  const view = viewOf(page);
  view.setBigInt64(6, BigInt(granule), true);
  view.setUint32(14, serial, true);
  view.setUint32(18, number, true);
  view.setUint32(22, checksum(page), true);
  return page;
}

// Returns the bytes of a page with this flag set.
export function flagged(page, flag) {
  const copy = page.slice();
  copy[5] |= flag;
  copy.fill(0, 22, 26);
  viewOf(copy).setUint32(22, checksum(copy), true);
  return copy;
}

// A reader of pages that come in pieces.
export class Pages {
  constructor() {
    this.incoming = new Incoming();
  }

  // Yields the pages that are whole now: { bytes, flags, granule, serial, number, lacing, body }. Throws Unreadable.
  *push(bytes) {
    this.incoming.push(bytes);
    for (let page = this.next(); page; page = this.next()) yield page;
  }

  next() {
    const waiting = this.incoming.bytes;
    if (waiting.length < HEADER) return null;
    if (CAPTURE.some((byte, at) => waiting[at] !== byte) || waiting[4]) throw new Unreadable("this is no Ogg page");
    const body = HEADER + waiting[26];
    if (waiting.length < body) return null;
    const size = waiting.subarray(HEADER, body).reduce((sum, value) => sum + value, body);
    return waiting.length < size ? null : readPage(this.incoming.take(size), body);
  }
}

function readPage(bytes, body) {
  const view = viewOf(bytes);
  const blank = bytes.slice();
  blank.fill(0, 22, 26);
  if (checksum(blank) !== view.getUint32(22, true)) throw new Unreadable("the checksum of an Ogg page is wrong");
  return {
    bytes,
    flags: bytes[5],
    granule: Number(view.getBigInt64(6, true)),
    serial: view.getUint32(14, true),
    number: view.getUint32(18, true),
    lacing: bytes.subarray(HEADER, body),
    body: bytes.subarray(body),
  };
}

// The packets of one stream. A packet may begin on one page and end on another.
export class Packets {
  constructor() {
    this.open = null; // the pieces of a packet that has not ended yet
  }

  // Returns the packets that end on this page. The rest of one whose beginning is missing is left out.
  of(page) {
    const ended = [];
    let pieces = page.flags & CONTINUED ? this.open : [];
    let at = 0;
    let begin = 0;
    for (const value of page.lacing) {
      at += value;
      if (value === 255) continue;
      if (pieces) ended.push(joined([...pieces, page.body.subarray(begin, at)]));
      pieces = [];
      begin = at;
    }
    const goesOn = page.lacing.at(-1) === 255;
    this.open = goesOn && pieces ? [...pieces, page.body.subarray(begin, at)] : null;
    if (goesOn && pieces && this.open.reduce((sum, { length }) => sum + length, 0) > MOST_PACKET) throw new Unreadable("a packet is too long");
    return ended;
  }
}
