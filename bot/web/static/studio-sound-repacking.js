// What a browser's recorder has encoded becomes slices; nothing is encoded twice.

import { Unreadable } from "./studio-sound-bytes.js";
import { Holes } from "./studio-sound-holes.js";
import { Mp4Reader } from "./studio-sound-mp4.js";
import { M4aSlices } from "./studio-sound-m4a.js";
import { OggReader } from "./studio-sound-opus-file.js";
import { RATE, UNIT, samplesOf, silence } from "./studio-sound-opus.js";
import { OggSlices } from "./studio-sound-slices.js";
import { WebmReader } from "./studio-sound-webm.js";

const READERS = { webm: WebmReader, ogg: OggReader };
const SHORTEST = 480; // units of a frame of AAC: half of the shortest there is

// Repacks WebM or Ogg with Opus. Its holes become packets of silence.
class OpusRepacking {
  constructor(kind, onPart) {
    this.slices = null;
    this.holes = new Holes();
    this.trim = 0;
    this.samples = 0; // of the recorder's packets
    this.reader = new READERS[kind]({
      onHead: (head) => (this.slices = new OggSlices(head, onPart)),
      onPacket: (packet, clock) => this.packet(packet, clock),
      onTrim: (samples) => (this.trim = Math.max(0, samples)),
    });
  }

  push(bytes) {
    this.reader.push(bytes);
  }

  packet(packet, clock) {
    if (!packet.length) return; // a recorder's sign for lost sound: the clock tells how much
    const hole = clock === null ? 0 : this.holes.before(clock, this.samples);
    if (hole) {
      const filled = hole - (hole % UNIT);
      for (const each of silence(filled)) this.slices.put(each);
      this.holes.fill(filled);
    }
    this.trim = 0; // it was of an earlier packet
    this.samples += samplesOf(packet);
    this.slices.put(packet);
  }

  end() {
    this.slices?.end(this.trim);
    this.reader.end();
  }
}

// Repacks fragmented MP4 with AAC. Its holes become silent frames.
class AacRepacking {
  constructor(onPart) {
    this.slices = null;
    this.holes = new Holes();
    this.units = 0; // of the recorder's frames
    this.reader = new Mp4Reader({
      onTrack: (track) => {
        if (track.codec !== "mp4a") throw new Unreadable("the recording is not AAC");
        this.slices = new M4aSlices(track, onPart);
      },
      onFrame: (frame, units, clock) => this.frame(frame, units, clock),
    });
  }

  push(bytes) {
    this.reader.push(bytes);
  }

  frame(frame, units, clock) {
    const { scale } = this.slices.track;
    if (clock !== null && units >= SHORTEST) {
      const hole = this.holes.before((clock * RATE) / scale, (this.units * RATE) / scale);
      const frames = Math.floor((hole * scale) / RATE / units);
      for (let count = 0; count < frames; count += 1) this.slices.silent(units);
      this.holes.fill((frames * units * RATE) / scale);
    }
    this.units += units;
    this.slices.put(frame, units);
  }

  end() {
    this.slices?.end();
    this.reader.end();
  }
}

// Makes slices of what a recorder writes: push(bytes), and end() after the last. `kind`: "webm", "ogg" or "mp4".
export const repacking = (kind, onPart) => (kind === "mp4" ? new AacRepacking(onPart) : new OpusRepacking(kind, onPart));
