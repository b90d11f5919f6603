// What the studio says and shows, by the names of texts and buttons: the words themselves are in the page. Pure.

const USUAL_MS = 7000; // a slice of 5 s is on its way while the next is recorded
export const QUIET_DB = -36;
export const LOUD_DB = -1;
export const SILENT_DB = -75;

const ON_AIR = ["live", "paused"];
const IN_THE_WAY = ["refused", "none", "busy"];

// The state of the page. `phase` is that of the broadcast, `take` whether sound is recorded now, `mic` that of the
// microphone, `server` what the server said last, `tab` whether this tab may broadcast
// (null: not known yet).
export function stateOf({ support, tab, server, closed, failing, client, phase, stopped, capped, take, mic, rehearsal }) {
  if (support !== "yes") return support;
  if (closed) return stopped ? "ended" : closed === "here" ? "closed-by-room" : "closed";
  if (tab === false) return "tab";
  if (!server) return failing ? "unreachable" : "loading";
  if (ON_AIR.includes(server.state) && server.client !== client) return "device";
  if (phase === "over") return stopped ? "ended" : server.client === client ? "closed-by-room" : "closed";
  if (capped) return "capped";
  if (mic === "asking") return "asking";
  if (phase === "live" && take) return server.state === "waiting" ? "starting" : "live";
  if (IN_THE_WAY.includes(mic)) return mic;
  if (phase === "live") return mic === "lost" ? "lost" : "interrupted";
  if (phase === "paused") return "paused";
  return rehearsal ?? "ready";
}

const KEYS = {
  ready: ["go", "rehearse"],
  rehearsing: ["listen", "go"],
  rehearsed: ["go", "rehearse"],
  starting: ["mute", "pause", "stop"],
  live: ["mute", "pause", "stop"],
  paused: ["on", "stop"],
  interrupted: ["on", "stop"],
  lost: ["on", "stop"],
  capped: ["stop"],
  tab: ["here"],
};

// The buttons of a state.
export function keysOf(state, phase) {
  if (IN_THE_WAY.includes(state)) return ON_AIR.includes(phase) ? ["retry", "stop"] : ["retry"];
  return KEYS[state] ?? [];
}

// What the network does: the name of a text, with the length of what waits. `telling`: the server does not know yet what
// the speaker did last, such as the end.
export function networkOf({ online, failing, full, catching, waitingMs, recording, telling }) {
  if (full) return { text: `net-${full}-full`, ms: waitingMs };
  if (!online || failing === "network") return { text: "net-offline", ms: waitingMs };
  if (failing) return { text: "net-server", ms: waitingMs };
  if (waitingMs > USUAL_MS || (catching && waitingMs > 0)) return { text: catching ? "net-catching" : "net-waiting", ms: waitingMs };
  const all = telling ? "net-telling" : "net-sent";
  return { text: recording ? "net-sending" : waitingMs > 0 ? "net-waiting" : all, ms: waitingMs };
}

// What is wrong with a text of `networkOf`: "gone", the connection; "space", there is none; null: nothing.
export function troubleOf(text) {
  if (text === "net-room-full" || text === "net-disk-full") return "space";
  return text === "net-offline" || text === "net-server" ? "gone" : null;
}

// A length in seconds below two minutes, else in minutes: the name of a text, with its number.
export function lengthOf(ms) {
  const seconds = Math.max(Math.sign(ms), Math.round(ms / 1000)); // a little is not nothing
  return ms < 120000 ? { text: "seconds", n: seconds } : { text: "minutes", n: Math.round(ms / 60000) };
}

// How loud it is, of a peak in decibels below full scale: the name of a text.
export function levelOf(db) {
  if (db < SILENT_DB) return "level-none";
  if (db < QUIET_DB) return "level-low";
  return db > LOUD_DB ? "level-high" : "level-good";
}

// The length of the meter's bar, from 0 to 1.
export function barOf(db) {
  return Math.min(1, Math.max(0, 1 + db / 60));
}

// `3:05`, `1:02:03`.
export function clockOf(ms) {
  const whole = Math.floor(ms / 1000);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

// Put values into a text of the page: `{n} s`.
export function filled(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
}
