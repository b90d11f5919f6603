// Sends what the queue holds, one thing at a time and in order, until the server has it. Everything can be sent again
// safely, so a try without an answer is a try that failed.

import { judge, pauseMs, retryAfterOf } from "./studio-answers.js";

const WITHIN_MS = 30000;
const SETTLED = ["done", "refused", "capped"];
const ENDS_IT = ["elsewhere", "over"];
const NO_ANSWER = { status: 0, problem: null, retryAfter: null };
const DONE = { ...NO_ANSWER, status: 200 }; // it is known by now that the server has it
const GONE = { ...NO_ANSWER, status: 400, problem: "gone" }; // the browser has thrown it away
const STRANGE = { ...NO_ANSWER, status: 502 }; // a proxy says that all is well, and not the bot

export class Sender {
  // `base`: the address of the studio; `keep`: saves what is known after each success; `told`: hears of each step that
  // the server has taken; `changed`: of everything that happens.
  constructor({ base, client, queue, store, keep, told, changed }) {
    Object.assign(this, { base, client, queue, store, keep, told, changed });
    this.tries = 0; // that failed, one after the other
    this.failing = null; // "network" or "server"
    this.full = null; // "room" or "disk": there is no space, for now
    this.capped = false; // the broadcast is as large as it may be: no later slice is taken
    this.ended = null; // "elsewhere" or "over": nothing more can be sent
    this.lost = 0; // slices that the server will never take
    this.catching = false; // there was no connection, and what waited is being sent
    this.wake = () => {};
  }

  // Go on until nothing more can be sent, or `close`.
  async run() {
    while (!this.ended && !this.closed) {
      const turn = this.queue.turn();
      if (!turn) {
        if (!this.queue.waitingMs) this.catching = false;
        this.changed();
        await this.#woken();
      } else {
        const answer = await this.#sent(turn);
        if (!this.closed) await this.#settle(turn, answer);
      }
    }
  }

  // Something more is to be sent: at once, unless a try has failed.
  more() {
    if (!this.failing && !this.full) this.wake();
  }

  // The network may be back: try now.
  nudge() {
    this.tries = 0;
    this.wake();
  }

  // Send nothing more; what is on its way is asked for again by who goes on.
  close() {
    this.closed = true;
    this.request?.abort();
    this.wake();
  }

  async #sent({ step, number }) {
    if (step) return this.#asked("POST", step.name, (said) => Boolean(said.state), JSON.stringify({ ...step.body, client: this.client }), { "Content-Type": "application/json" });
    const parts = await this.store.parts(number).catch(() => null);
    if (!parts) return NO_ANSWER; // the storage can't be read now
    if (!parts.length) return this.queue.slices.has(number) ? GONE : DONE;
    const ms = Math.max(1, Math.round(parts.reduce((all, part) => all + part.ms, 0)));
    const headers = { "Content-Type": "application/octet-stream", "X-Client": this.client, "X-Duration-Ms": String(ms) };
    return this.#asked("PUT", `slice-${number}`, (said) => said.number === number, new Blob(parts.map(({ bytes }) => bytes)), headers);
  }

  // `isIt`: whether it is the bot's word that this is done: a proxy's page may come with any status.
  async #asked(method, name, isIt, body, headers) {
    this.request = new AbortController();
    const { signal } = this.request;
    const late = setTimeout(() => this.request.abort(), WITHIN_MS);
    try {
      const answer = await fetch(new URL(name, this.base), { method, body, headers, signal, cache: "no-store" });
      const said = await answer.json().catch(() => null);
      if (answer.ok && !(said && isIt(said))) return STRANGE;
      return { status: answer.status, problem: said?.problem ?? null, retryAfter: retryAfterOf(answer.headers.get("Retry-After")) };
    } catch {
      return NO_ANSWER;
    } finally {
      clearTimeout(late);
    }
  }

  async #settle(turn, { status, problem, retryAfter }) {
    const verdict = judge(status, problem, retryAfter);
    if (SETTLED.includes(verdict)) {
      if (verdict !== "done" && turn.number) this.lost += 1;
      if (verdict === "capped") this.capped = true;
      if (turn.step) this.queue.done(turn.step);
      else this.queue.drop(turn.number);
      if (turn.step && verdict === "done") this.told(turn.step);
      await this.keep(turn.number);
      Object.assign(this, { tries: 0, failing: null, full: null });
    } else if (ENDS_IT.includes(verdict)) {
      this.ended = verdict;
    } else if (verdict === "start") {
      this.queue.steps.unshift({ name: "start", after: 0 });
    } else {
      this.tries += 1;
      this.full = verdict === "full" ? (problem === "room_full" ? "room" : "disk") : null;
      this.failing = this.full ? null : status ? "server" : "network";
      this.catching = true;
      this.changed();
      await this.#woken(pauseMs(verdict, this.tries, retryAfter, Math.random()));
    }
    this.changed();
  }

  #woken(withinMs) {
    return new Promise((resolve) => {
      const timer = withinMs === undefined ? null : setTimeout(resolve, withinMs);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
