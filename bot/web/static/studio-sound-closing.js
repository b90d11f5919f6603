// The end of a slice whose page was killed while it grew.

import { Unreadable, joined, text } from "./studio-sound-bytes.js";
import { closeM4a } from "./studio-sound-m4a.js";
import { ENDS, Pages, flagged } from "./studio-sound-ogg.js";

const HEADERS = 2; // pages

// Returns a valid slice of the parts that were stored of it, in their order. `ends`: whether the take ends with it, which
// an Ogg slice can say.
export function closeTake(parts, { ends = false } = {}) {
  if (parts.length && text(parts[0], 4, 4) === "ftyp") return closeM4a(parts);
  const pages = [];
  try {
    for (const page of new Pages().push(joined(parts))) pages.push(page);
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error; // what comes before the damage is whole
  }
  const whole = pages.map(({ bytes }) => bytes);
  if (ends && pages.length > HEADERS) whole.push(flagged(whole.pop(), ENDS));
  return joined(whole);
}
