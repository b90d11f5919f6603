// What the browser remembers between visits: how far each recording was heard, speed and volume. Recordings are known
// by their codes, never by an address, which may hold a listener's token. A browser may forbid all of it.

const MOST_PLACES = 200;
const NOT_YET_S = 15; // a place before this is the beginning
const OVER_S = 20; // a place so near to the end is the end

const memory = {
  read(name, otherwise) {
    try {
      return JSON.parse(localStorage.getItem(`aircheck-${name}`)) ?? otherwise;
    } catch {
      return otherwise;
    }
  },

  write(name, value) {
    try {
      localStorage.setItem(`aircheck-${name}`, JSON.stringify(value));
    } catch { /* full, or forbidden: then nothing is remembered */ }
  },

  place(code) {
    const [seconds] = this.read("places", {})[code] ?? [0];
    return Number.isFinite(seconds) ? seconds : 0;
  },

  keepPlace(code, seconds, duration) {
    const places = this.read("places", {});
    delete places[code];
    if (seconds > NOT_YET_S && !(duration - seconds < OVER_S)) places[code] = [Math.floor(seconds), Date.now()];
    const newest = Object.entries(places).sort(([, one], [, other]) => other[1] - one[1]).slice(0, MOST_PLACES);
    this.write("places", Object.fromEntries(newest));
  },
};
