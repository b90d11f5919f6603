// Holes in the microphone's sound: a call that takes the microphone, a suspended browser, frames that were dropped. The
// clock of the sound goes on meanwhile and its samples don't. What lies between them becomes silence of that length, so
// that everything after it keeps its place.
//
// The clock and the samples are not the same even without holes: sound comes in bursts, and no two clocks go alike. So
// only what lies above the lower edge of their difference counts; and the edge itself may rise slowly.

import { RATE } from "./studio-sound-opus.js";

const LEAST = 0.25 * RATE; // samples: less may be a burst, and waits until it is this much
const DRIFT = 0.0005; // by which two clocks may differ
const MOST = 600 * RATE; // samples of silence in one place: who is away for longer has paused

export class Holes {
  constructor(least = LEAST) {
    this.least = least;
    this.edge = null;
    this.counted = 0;
    this.filled = 0;
  }

  // Returns how long a hole is before the sound that comes now, in samples; 0: there is none. `clock`: when it was
  // recorded, in samples from any beginning; `count`: all samples that came before it.
  before(clock, count) {
    const lead = clock - count - this.filled;
    if (this.edge === null || lead < this.edge) this.edge = lead;
    this.edge = Math.min(lead, this.edge + DRIFT * (count - this.counted));
    this.edge = Math.max(this.edge, lead - MOST);
    this.counted = count;
    return lead - this.edge >= this.least ? Math.round(lead - this.edge) : 0;
  }

  // Notes that a hole was filled.
  fill(samples) {
    this.filled += samples;
  }

  // Takes the clock as it is now: it was set, and no sound is missing.
  forget() {
    this.edge = null;
  }
}
