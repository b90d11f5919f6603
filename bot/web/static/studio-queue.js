// What was recorded and is not known to be on the server's disk, and what is to be told the server, in order. Pure: it
// holds no sound, only the numbers and lengths of slices; the sound is in the store.
//
// Slices are numbered from 1 over the whole broadcast, over pauses and reloads, without a hole. A step (`start`,
// `pause`, `resume`, `stop`, `texts`) belongs behind a slice: it is told once all slices up to `after` are there, and
// no later slice is sent before it.

const CHANGED = { start: "live", resume: "live", pause: "paused", stop: "over" };

// The state of a broadcast after a step.
export function stateAfter(state, { name }) {
  return state === "over" ? state : (CHANGED[name] ?? state);
}

export class Queue {
  // `next`: the number of the next slice; `sentMs`: the length of what the server has.
  constructor({ next = 1, steps = [], sentMs = 0 } = {}) {
    this.next = next;
    this.steps = [...steps];
    this.sentMs = sentMs;
    this.slices = new Map(); // by number, ascending: { ms, complete }
  }

  // A new take begins: return the number of its first slice.
  begin() {
    return this.next;
  }

  // A number was given away.
  take(number) {
    this.next = Math.max(this.next, number + 1);
  }

  // The last slice turned out to be without sound: its number is free.
  takeBack(number) {
    this.slices.delete(number);
    this.next = number;
  }

  // A part of a slice is in the store. `ends`: it was the slice's last. The first part of a slice ends the one before.
  add(number, ms, ends) {
    this.take(number);
    if (!this.slices.has(number)) this.finish();
    const slice = this.slices.get(number) ?? { ms: 0, complete: false };
    this.slices.set(number, { ms: slice.ms + ms, complete: slice.complete || ends });
  }

  // A take has ended, and its last slice with it.
  finish() {
    for (const slice of this.slices.values()) slice.complete = true;
  }

  // The server has a slice, or will never take it.
  drop(number) {
    const slice = this.slices.get(number);
    if (!slice) return;
    this.slices.delete(number);
    this.sentMs += slice.ms;
  }

  // The server said which numbers it has, as ranges: return those that need not be sent, and number on behind all.
  learn(have) {
    for (const [, last] of have) this.next = Math.max(this.next, last + 1);
    return [...this.slices.keys()].filter((number) => this.slices.get(number).complete && isIn(have, number));
  }

  // Tell the server something, after all that was recorded so far. New texts take the place of those not told yet.
  push(step) {
    const last = this.steps.at(-1);
    if (step.name === "texts" && last?.name === "texts") this.steps.pop();
    this.steps.push({ ...step, after: this.next - 1 });
  }

  // The step was told.
  done(step) {
    this.steps = this.steps.filter((one) => one !== step);
  }

  // What is to be sent now: { step }, { number }, or null.
  turn() {
    const lowest = Math.min(...this.slices.keys());
    const [step] = this.steps;
    if (step && !(lowest <= step.after)) return { step };
    return this.slices.get(lowest)?.complete ? { number: lowest } : null;
  }

  // The state of the broadcast once everything is told. `state`: what the server says of it now.
  phase(state) {
    return this.steps.reduce(stateAfter, state);
  }

  // The length of complete slices that wait, in milliseconds.
  get waitingMs() {
    return sum([...this.slices.values()].filter(({ complete }) => complete));
  }

  // The length of everything that was recorded.
  get recordedMs() {
    return this.sentMs + sum([...this.slices.values()]);
  }

  get isEmpty() {
    return !this.slices.size && !this.steps.length;
  }
}

function sum(slices) {
  return slices.reduce((all, { ms }) => all + ms, 0);
}

// Whether a number is in ranges such as [[1, 5], [7, 9]].
export function isIn(ranges, number) {
  return ranges.some(([first, last]) => first <= number && number <= last);
}
