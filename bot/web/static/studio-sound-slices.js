// Slices of a take of Opus, as Element Web cuts its broadcasts: each is the two header pages, and its own share of the
// take's pages of sound, whose numbers (from 2) and granules run on. So the archive joins them to the sample, and proves
// by the numbers and the end flag of the last page that nothing is missing.
//
// A part is one page. A page is written when the next packet comes, so that the last page is never without a packet:
// only a page with packets can say how much of its end is no sound.

import { BEGINS, ENDS, MOST_LACING, MOST_PACKET, NO_GRANULE, lacingOf, writePage } from "./studio-sound-ogg.js";
import { Unreadable, joined } from "./studio-sound-bytes.js";
import { RATE, TAGS, samplesOf } from "./studio-sound-opus.js";

export const PART_S = 0.2; // what a page that is killed may lose
export const LONGEST_S = 5;
const SLICES_S = [1, 2, LONGEST_S]; // the first are short, so that a broadcast is live at once

// The length at which the slice of this number (from 0) ends.
export const secondsOf = (slice) => SLICES_S[Math.min(slice, SLICES_S.length - 1)];

export class OggSlices {
  // `head`: the OpusHead packet. `onPart` takes { slice, bytes, durationMs, ends, last }.
  constructor(head, onPart, serial = crypto.getRandomValues(new Uint32Array(1))[0]) {
    this.serial = serial;
    this.onPart = onPart;
    this.headers = joined([this.page(0, 0, BEGINS, [head]), this.page(1, 0, 0, [TAGS])]);
    this.number = 2;
    this.samples = 0; // of all packets
    this.slice = 0;
    this.sliced = 0; // samples in the slices before this one
    this.begun = false; // whether a part of this slice was given out
    this.open(0);
  }

  open(samples) {
    this.packets = [];
    this.lacing = 0;
    this.paged = samples; // samples in the pages before this one
  }

  // Adds a packet. Throws Unreadable for what is none.
  put(packet) {
    const samples = samplesOf(packet);
    if (packet.length > MOST_PACKET) throw new Unreadable("an Opus packet is too long");
    const full = this.samples - this.paged >= PART_S * RATE || this.lacing + lacingOf(packet) > MOST_LACING;
    if (full) this.turn(0, false);
    this.packets.push(packet);
    this.lacing += lacingOf(packet);
    this.samples += samples;
  }

  // Ends the take. `trim`: samples at its end that are no sound.
  end(trim = 0) {
    this.turn(Math.min(trim, this.samples - this.paged), true);
  }

  turn(trim, last) {
    const granule = this.packets.length ? this.samples - trim : NO_GRANULE;
    const page = this.page(this.number, granule, last ? ENDS : 0, this.packets);
    const ends = last || this.samples - this.sliced >= secondsOf(this.slice) * RATE;
    const durationMs = ((this.samples - trim - this.paged) * 1000) / RATE;
    const part = { slice: this.slice, bytes: this.begun ? page : joined([this.headers, page]), durationMs, ends, last };
    this.number += 1;
    this.begun = !ends;
    this.open(this.samples);
    if (ends) {
      this.slice += 1;
      this.sliced = this.samples;
    }
    this.onPart(part);
  }

  page(number, granule, flags, packets) {
    return writePage({ flags, granule, serial: this.serial, number, packets });
  }
}
