// What to do after an answer of the server, and how long to wait before the next try. Pure.

export const MOST_MS = 15000;
const FIRST_MS = 500;
const FULL_MS = 30000;
const FOREIGN = [400, 410, 413, 415, 422];

// Of a step or slice: `done`; `again`, later; `start`, the server knows of no broadcast; `elsewhere`, another page has
// it; `over`, nothing more is taken; `full`, no space; `refused`, it will never be taken, `capped`, nor will any later
// slice. `status` 0: no answer. A refusal without a problem is not the bot's word, but that of a proxy in front of it.
export function judge(status, problem = null, retryAfter = null) {
  if (status >= 200 && status < 300) return "done";
  if (problem === null && FOREIGN.includes(status)) return "again";
  if (status === 410) return "over";
  if (status === 507) return problem === "broadcast_full" ? "capped" : "full";
  if (status === 413 || status === 400 || status === 415 || status === 422) return "refused";
  if (status === 409) return { waiting: "start", elsewhere: "elsewhere", other_bytes: "refused" }[problem] ?? "again";
  if (status === 429 && problem === "too_many" && retryAfter === null) return "capped";
  return "again";
}

// Milliseconds before the next try. `tries` counts those that failed; `random` is between 0 and 1.
export function pauseMs(verdict, tries, retryAfter, random) {
  const growing = Math.min(MOST_MS, FIRST_MS * 2 ** Math.max(0, tries - 1));
  const wait = verdict === "full" ? FULL_MS : Math.max(growing, (retryAfter ?? 0) * 1000);
  return wait * (0.8 + 0.4 * random);
}

// Seconds of a Retry-After header; null where there is none that can be read.
export function retryAfterOf(header) {
  return /^\d{1,5}$/.test(header ?? "") ? Number(header) : null;
}
