// Slices of a take of AAC: each is an M4A file that begins with the two frames before it, since a decoder needs them, and
// whose edit list cuts these off again (ISO/IEC 14496-12, 8.6.6). So the archive joins them to the sample.
//
// A part is a media box, behind a free box that lists its frames. The movie box comes with the last part; where a page
// was killed before that, it is made from the lists.

import { Unreadable, ascii, joined, text, viewOf } from "./studio-sound-bytes.js";
import { RATE } from "./studio-sound-opus.js";
import { LONGEST_S, PART_S, secondsOf } from "./studio-sound-slices.js";

const PRE_ROLL = 2; // frames
const LIST = "aircheck";
const MOST_FRAMES = 1000; // in a part
const LOW_COMPLEXITY = 2; // the object type
const SILENT = { 1: [0x00, 0xc8, 0x00, 0x80, 0x23, 0x80], 2: [0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80] };
// frames of AAC-LC without sound, by channels

export class M4aSlices {
  // `track` as Mp4Reader describes it; `onPart` as for OggSlices.
  constructor(track, onPart) {
    this.track = track;
    this.onPart = onPart;
    this.slice = 0;
    this.tail = []; // the last frames before this slice
    this.open();
    this.begin();
  }

  begin() {
    this.frames = []; // of the part that grows
    this.grown = 0; // their units
  }

  open() {
    this.units = 0; // in the whole parts of this slice
    this.parts = [];
  }

  // Adds a frame.
  put(bytes, units) {
    if (this.grown >= PART_S * this.track.scale || this.frames.length >= MOST_FRAMES || this.isFull()) this.turn(false);
    this.frames.push({ bytes, units });
    this.grown += units;
  }

  // Returns whether the slice ends here. Where the rate is not ours, its length is rounded when it is converted; so it
  // ends where nothing is rounded, if that comes soon, and hours of slices add up to no error.
  isFull() {
    const { scale } = this.track;
    const units = this.units + this.grown;
    const seconds = secondsOf(this.slice);
    return units >= seconds * scale && ((units * RATE) % scale === 0 || units >= (seconds < LONGEST_S ? 1 : 1.5) * seconds * scale);
  }

  // Adds a frame without sound; none where the kind of AAC is another one.
  silent(units) {
    const [first, second] = this.track.config ?? [0, 0];
    const frame = first >> 3 === LOW_COMPLEXITY && SILENT[(second >> 3) & 15];
    if (frame) this.put(Uint8Array.from(frame), units);
  }

  end() {
    if (this.frames.length) this.turn(true);
  }

  turn(last) {
    const units = this.grown;
    const first = !this.parts.length;
    const before = first ? this.tail : [];
    const bytes = [...(first ? [FTYP] : []), ...media([...before, ...this.frames], first ? this.about(before) : {})];
    this.tail = [...this.tail, ...this.frames].slice(-PRE_ROLL);
    this.begin();
    this.units += units;
    this.parts.push(joined(bytes));
    const ends = last || this.isFull();
    if (ends) this.parts.push(movieOf(joined(this.parts)));
    const part = ends ? joined(this.parts.slice(-2)) : this.parts.at(-1);
    const told = { slice: this.slice, bytes: part, durationMs: (units * 1000) / this.track.scale, ends, last };
    if (ends) {
      this.slice += 1;
      this.open();
    }
    this.onPart(told);
  }

  about(before) {
    const cut = this.slice ? before.reduce((sum, frame) => sum + frame.units, 0) : this.track.cut;
    return { scale: this.track.scale, cut, stsd: btoa(String.fromCharCode(...this.track.stsd)) };
  }
}

// Returns a slice whose page was killed, with the movie box that it lacks.
export function closeM4a(parts) {
  const whole = joined(parts);
  const boxes = [...boxesOf(whole)];
  const end = boxes.at(-1)?.end ?? 0;
  const kept = whole.subarray(0, end);
  if (boxes.some(({ kind }) => kind === "moov") || !boxes.some(({ kind }) => kind === "mdat")) return kept;
  return joined([kept, movieOf(kept)]);
}

// ---- boxes

const u32 = (...values) => {
  const bytes = new Uint8Array(4 * values.length);
  values.forEach((value, at) => viewOf(bytes).setUint32(4 * at, value));
  return bytes;
};

const u16 = (...values) => Uint8Array.from(values.flatMap((value) => [(value >> 8) & 0xff, value & 0xff]));

const box = (kind, ...content) => {
  const inside = joined(content);
  return joined([u32(inside.length + 8), ascii(kind), inside]);
};

const FTYP = box("ftyp", ascii("M4A "), u32(0), ascii("M4A isommp42"));
const MATRIX = u32(0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000);

function media(frames, about) {
  const list = { sizes: frames.map(({ bytes }) => bytes.length), units: frames.map(({ units }) => units), ...about };
  return [box("free", ascii(LIST + JSON.stringify(list))), box("mdat", ...frames.map(({ bytes }) => bytes))];
}

// Yields the whole boxes of a file.
function* boxesOf(bytes) {
  for (let at = 0; at + 8 <= bytes.length; ) {
    const size = viewOf(bytes).getUint32(at);
    const end = at + size;
    if (size < 8 || end > bytes.length) return;
    yield { kind: text(bytes, at + 4, 4), content: bytes.subarray(at + 8, end), at: at + 8, end };
    at = end;
  }
}

// Returns the movie box for the media boxes of a slice.
function movieOf(slice) {
  let list = null;
  const lists = [];
  const places = [];
  for (const { kind, content, at } of boxesOf(slice)) {
    if (kind === "free" && text(content, 0, LIST.length) === LIST) list = JSON.parse(new TextDecoder().decode(content.subarray(LIST.length)));
    if (kind !== "mdat") continue;
    if (!list) throw new Unreadable("a part of the slice has no list of its frames");
    lists.push(list);
    places.push(at);
  }
  const { scale, cut, stsd } = lists[0];
  if (!scale) throw new Unreadable("the first part of the slice is missing");
  const units = lists.flatMap((each) => each.units);
  const whole = units.reduce((sum, each) => sum + each, 0);
  const table = box(
    "stbl",
    Uint8Array.from(atob(stsd), (letter) => letter.charCodeAt(0)),
    box("stts", ...counted(runs(units))),
    box("stsc", ...counted(chunksOf(lists.map((each) => each.sizes.length)))),
    box("stsz", u32(0, 0, units.length, ...lists.flatMap((each) => each.sizes))),
    box("stco", u32(0, places.length, ...places)),
  );
  return box("moov", header(scale, whole - cut), track(scale, whole, cut, table));
}

const header = (scale, units) => box("mvhd", u32(0, 0, 0, scale, units, 0x10000), u16(0x100, 0), u32(0, 0), MATRIX, u32(0, 0, 0, 0, 0, 0, 2));

function track(scale, whole, cut, table) {
  const edits = cut ? [box("edts", box("elst", u32(0, 1, whole - cut, cut), u16(1, 0)))] : [];
  return box(
    "trak",
    box("tkhd", u32(7, 0, 0, 1, 0, whole - cut, 0, 0), u16(0, 0, 0x100, 0), MATRIX, u32(0, 0)),
    ...edits,
    box(
      "mdia",
      box("mdhd", u32(0, 0, 0, scale, whole), u16(0x55c4, 0)), // no language
      box("hdlr", u32(0, 0), ascii("soun"), u32(0, 0, 0), Uint8Array.of(0)),
      box("minf", box("smhd", u32(0, 0)), box("dinf", box("dref", u32(0, 1), box("url ", u32(1)))), table),
    ),
  );
}

const counted = (rows) => [u32(0, rows.length), ...rows.map((row) => u32(...row))];

// Returns how many values in a row are alike, and the value.
function runs(values) {
  const rows = [];
  for (const value of values) {
    if (rows.at(-1)?.[1] === value) rows.at(-1)[0] += 1;
    else rows.push([1, value]);
  }
  return rows;
}

// Returns the rows of the table of chunks: from which chunk on each holds how many frames.
function chunksOf(counts) {
  const rows = [];
  counts.forEach((count, index) => {
    if (rows.at(-1)?.[1] !== count) rows.push([index + 1, count, 1]);
  });
  return rows;
}
