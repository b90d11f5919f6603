// Fragmented MP4 (ISO/IEC 14496-12) as recorders stream it, read as it comes: the track with sound, and its frames.

import { Incoming, Unreadable, text, viewOf } from "./studio-sound-bytes.js";

const MOST_BOX = 4 * 1024 * 1024; // bytes of a movie or a fragment's tables
const MOST_SAMPLES = 100_000; // in a fragment
const CONTAINERS = new Set(["trak", "edts", "mdia", "minf", "stbl", "mvex", "traf"]);

export class Mp4Reader {
  // `onTrack` takes { scale, cut, codec, config, stsd }: units a second, units at the beginning that are no sound, four
  // letters, the AudioSpecificConfig where there is one, and the box that describes all. `onFrame` takes a frame, its units, and when it was recorded in units;
  // null where the frame before tells that.
  constructor({ onTrack, onFrame }) {
    Object.assign(this, { onTrack, onFrame });
    this.incoming = new Incoming();
    this.track = null;
    this.fragment = null; // the samples that the next media box holds
  }

  // Takes bytes in. Throws Unreadable.
  push(bytes) {
    this.incoming.push(bytes);
    try {
      while (this.box());
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new Unreadable("a table of the recording is cut off");
    }
  }

  end() {
    if (!this.track) throw new Unreadable("there is no track with sound");
  }

  // Reads one box, if it is here; returns whether it was.
  box() {
    const waiting = this.incoming.bytes;
    if (waiting.length < 16 && !(waiting.length >= 8 && viewOf(waiting).getUint32(0) > 1)) return false;
    if (this.incoming.skipping) return false;
    const { kind, head, size } = headOf(waiting, 0);
    if (size < head) throw new Unreadable("a box of the recording has no size");
    if (kind === "mdat" && !this.fragment) throw new Unreadable("the recording is not fragmented");
    if (!["moov", "moof", "mdat"].includes(kind)) {
      this.incoming.skip(size);
      return true;
    }
    if (kind !== "mdat" && size > MOST_BOX) throw new Unreadable("a table of the recording is too large");
    if (waiting.length < size) {
      this.incoming.expect(size);
      return false;
    }
    const at = this.incoming.at;
    const box = this.incoming.take(size);
    if (kind === "moov") this.movie(box.subarray(head));
    if (kind === "moof") this.fragment = this.fragmentOf(box.subarray(head), at);
    if (kind === "mdat") this.media(box, at);
    return true;
  }

  movie(content) {
    for (const track of tracksOf(content)) {
      if (text(track.hdlr, 8, 4) !== "soun" || this.track) continue;
      this.track = described(track, content);
      this.onTrack(this.track);
    }
  }

  // Returns the samples of our track in a fragment (8.8): where each is in the stream, its size and its units.
  fragmentOf(content, at) {
    if (!this.track) throw new Unreadable("a fragment comes before the movie");
    const samples = [];
    for (const [kind, traf] of boxesOf(content)) {
      if (kind !== "traf") continue;
      const boxes = [...boxesOf(traf)];
      const header = boxes.find(([name]) => name === "tfhd")?.[1];
      if (!header || viewOf(header).getUint32(4) !== this.track.id) continue;
      const usual = usualOf(header, at, this.track);
      const times = boxes.find(([name]) => name === "tfdt")?.[1];
      let clock = times ? timeOf(times) : null;
      for (const [name, run] of boxes) {
        if (name !== "trun") continue;
        for (const sample of runOf(run, usual)) {
          samples.push({ ...sample, clock });
          clock = null;
        }
        if (samples.length > MOST_SAMPLES) throw new Unreadable("a fragment has too many samples");
      }
    }
    return samples;
  }

  media(box, at) {
    const left = [];
    for (const sample of this.fragment) {
      const begin = sample.at - at;
      if (begin >= box.length) left.push(sample); // in a media box that comes later
      else if (begin < 0 || begin + sample.size > box.length) throw new Unreadable("a frame lies outside of its fragment");
      else if (sample.size) this.onFrame(box.slice(begin, begin + sample.size), sample.units, sample.clock);
    }
    this.fragment = left;
  }
}

// ---- boxes

function headOf(bytes, at) {
  const view = viewOf(bytes);
  const short = view.getUint32(at);
  const head = short === 1 ? 16 : 8;
  const size = short === 1 ? Number(view.getBigUint64(at + 8)) : short;
  return { kind: text(bytes, at + 4, 4), head, size };
}

// Yields the boxes in the content of another one: name, content, and the whole box.
function* boxesOf(content) {
  for (let at = 0; at + 8 <= content.length; ) {
    const { kind, head, size } = headOf(content, at);
    if (size < head || at + size > content.length) throw new Unreadable("a box of the recording is cut off");
    yield [kind, content.subarray(at + head, at + size), content.subarray(at, at + size)];
    at += size;
  }
}

function* tracksOf(movie) {
  for (const [kind, content] of boxesOf(movie)) {
    if (kind !== "trak") continue;
    const found = {};
    collect(content, found);
    if (!["tkhd", "mdhd", "hdlr", "stsd"].every((name) => name in found)) throw new Unreadable("a track lacks its tables");
    yield found;
  }
}

function collect(content, found) {
  for (const [kind, inside, whole] of boxesOf(content)) {
    if (CONTAINERS.has(kind)) collect(inside, found);
    else found[kind] ??= kind === "stsd" ? whole : inside;
  }
}

function described(track, movie) {
  const wide = (box, at, wideAt) => viewOf(box).getUint32(box[0] === 1 ? wideAt : at);
  const id = wide(track.tkhd, 12, 20);
  const scale = wide(track.mdhd, 12, 20);
  if (!scale || track.stsd.length < 24) throw new Unreadable("the track is not described");
  const all = [...boxesOf(movie)].filter(([kind]) => kind === "mvex").flatMap(([, content]) => [...boxesOf(content)]);
  const usual = all.map(([, box]) => viewOf(box)).find((box, index) => all[index][0] === "trex" && box.getUint32(4) === id);
  return {
    id,
    scale,
    codec: text(track.stsd, 20, 4),
    config: configOf(track.stsd),
    cut: Math.max(0, track.elst ? beginOf(track.elst) : 0),
    stsd: track.stsd.slice(),
    units: usual?.getUint32(12) ?? 0,
    size: usual?.getUint32(16) ?? 0,
  };
}

// Returns the AudioSpecificConfig in the descriptors of a sample entry (ISO/IEC 14496-1, 7.2.6).
function configOf(stsd) {
  const letters = text(stsd, 0, Math.min(stsd.length, 4096));
  let at = letters.indexOf("esds") + 8;
  if (at < 8) return null;
  for (const [tag, fixed] of [[3, 3], [4, 13], [5, 0]]) {
    if (stsd[at] !== tag) return null;
    do at += 1;
    while (stsd[at] & 0x80);
    at += 1 + fixed;
  }
  return stsd.slice(at, at + 2);
}

// Returns where the first edit that is no silence begins in the media (8.6.6).
function beginOf(list) {
  const view = viewOf(list);
  const [wide, count] = [list[0] === 1, view.getUint32(4)];
  const size = wide ? 20 : 12;
  for (let at = 8, left = count; left > 0 && at + size <= list.length; at += size, left -= 1) {
    const begin = wide ? Number(view.getBigInt64(at + 8)) : view.getInt32(at + 4);
    if (begin >= 0) return begin;
  }
  return 0;
}

const timeOf = (box) => (box[0] === 1 ? Number(viewOf(box).getBigUint64(4)) : viewOf(box).getUint32(4));

// ---- fragments

const flagsOf = (box) => viewOf(box).getUint32(0) & 0xffffff;

function usualOf(header, at, track) {
  const [view, flags] = [viewOf(header), flagsOf(header)];
  let next = 8;
  const base = flags & 0x1 ? Number(view.getBigUint64(next)) : at;
  next += flags & 0x1 ? 8 : 0;
  next += flags & 0x2 ? 4 : 0;
  const units = flags & 0x8 ? view.getUint32(next) : track.units;
  next += flags & 0x8 ? 4 : 0;
  const size = flags & 0x10 ? view.getUint32(next) : track.size;
  return { base, units, size, end: null };
}

function* runOf(run, usual) {
  const [view, flags, count] = [viewOf(run), flagsOf(run), viewOf(run).getUint32(4)];
  if (count > MOST_SAMPLES) throw new Unreadable("a fragment has too many samples");
  let next = 8;
  let at = flags & 0x1 ? usual.base + view.getInt32(next) : (usual.end ?? usual.base);
  next += flags & 0x1 ? 4 : 0;
  next += flags & 0x4 ? 4 : 0;
  const read = (flag, otherwise) => {
    if (!(flags & flag)) return otherwise;
    if (next + 4 > run.length) throw new Unreadable("the table of a fragment is cut off");
    next += 4;
    return view.getUint32(next - 4);
  };
  for (let index = 0; index < count; index += 1) {
    const [units, size] = [read(0x100, usual.units), read(0x200, usual.size)];
    read(0x400);
    read(0x800);
    yield { at, size, units };
    at += size;
  }
  usual.end = at;
}
