// The broadcast of this page: from the microphone by way of the store to the server, over reloads and lost connections.

import { Queue, stateAfter } from "./studio-queue.js";
import { Sender } from "./studio-sender.js";
import { closeTake, openTake } from "./studio-sound.js";
import { openStore } from "./studio-store.js";

const RECENT_MS = 120000; // a page that comes back within this time goes on by itself
const LOOK_MS = { onAir: 5000, else: 15000, hidden: 60000 };
const ANSWER_MS = 10000;
const SILENT_MS = { first: 8000, else: 3000 }; // parts come several times a second, once a way to record was found
const ASKS = /\bFirefox\//; // it would ask who has just gone live whether the page may store data for ever
const GONE = { 404: "unknown", 410: "over" }; // with the bot's own word; a proxy says no more than the number

export class Broadcast {
  // `studio`: a name for it in this browser's storage; `base`: its address; `takes`: what opens a take.
  constructor({ studio, base, microphone, changed, takes = openTake }) {
    Object.assign(this, { studio, base, microphone, changed, takes });
    this.server = null; // what the server said last
    this.failing = false; // the server could not be asked
    this.closed = null; // "there", before anything was broadcast, or "here"
    this.take = null;
    this.becoming = null; // the phase that a key leads to, while the take still ends
    this.turns = Promise.resolve(); // what keys do, one after the other
    this.record = {};
    this.writes = Promise.resolve();
    this.steps = 0; // that the server was told
  }

  // This page has the studio now. `goesOn`: whether it may open the microphone by itself.
  async begin(goesOn) {
    await this.#inTurn(() => this.#begun());
    if (goesOn && this.isRecent) await this.goOn();
  }

  async #begun() {
    this.store = await openStore(this.studio);
    this.record = await this.store.record();
    this.record.client ??= crypto.randomUUID().replaceAll("-", "");
    this.record.openedAt = Date.now();
    await this.#recover();
    await this.#keep();
    const { base, queue, store } = this;
    const { client } = this.record;
    const hears = { keep: (number) => this.#keep(number), told: (step) => this.#told(step), changed: () => this.#heard() };
    this.sender = new Sender({ base, client, queue, store, ...hears });
    await this.look();
    this.sender.run();
  }

  // Another tab goes on: finish what is begun here, and keep away from the store.
  leave() {
    return this.#inTurn(() => this.#left());
  }

  async #left() {
    await this.#endTake();
    this.microphone.close();
    this.sender?.close();
    clearTimeout(this.timer);
    Object.assign(this, { sender: null, server: null });
    this.changed();
  }

  get phase() {
    return this.becoming ?? this.#phase;
  }

  get #phase() {
    return this.queue?.phase(this.server?.state ?? "waiting") ?? "waiting";
  }

  // Whether the broadcast is as large as it may be.
  get capped() {
    return Boolean(this.record.capped || this.sender?.capped);
  }

  // Whether sound is to be recorded and none comes: the microphone is held by a call, or the browser has stopped it.
  get isSilent() {
    if (!this.take) return false;
    const most = this.take.parts ? SILENT_MS.else : SILENT_MS.first;
    return this.microphone.isHeld || performance.now() - this.take.heardAt > most;
  }

  get isMine() {
    return this.server?.client === this.record.client || this.server?.state === "waiting";
  }

  get isRecent() {
    const ago = Math.abs(Date.now() - (this.record.seenAt ?? 0)); // the clock may have been set back
    return this.phase === "live" && this.isMine && !this.closed && ago < RECENT_MS;
  }

  // ---- what the speaker does

  start(texts) {
    return this.#go({ waiting: { name: "start", body: texts } });
  }

  pause() {
    return this.#becomes("paused", async () => {
      if (this.#phase !== "live") return;
      await this.#endTake();
      await this.#tell({ name: "pause" });
    });
  }

  goOn() {
    return this.#go({ paused: { name: "resume" } });
  }

  // The microphone is gone, and the broadcast goes on.
  interrupt() {
    return this.#inTurn(() => this.#endTake());
  }

  stop() {
    this.record.stopped = true;
    return this.#becomes("over", async () => {
      await this.#endTake();
      const last = this.queue.next - 1;
      if (this.#phase !== "over") await this.#tell({ name: "stop", body: last ? { last } : {} });
      this.microphone.close();
    });
  }

  // Record from now on; a key that is pressed twice does it once. `steps`: what is to be told before, by the phase.
  async #go(steps) {
    if (!(await this.microphone.open())) return;
    if (!ASKS.test(navigator.userAgent)) navigator.storage?.persist?.().catch(() => {});
    await this.#inTurn(async () => {
      if (!this.sender) return this.microphone.close(); // another tab goes on
      if (this.take || this.becoming || this.closed || this.capped || this.#phase === "over") return undefined;
      const step = steps[this.#phase];
      if (step) await this.#tell(step);
      return this.#openTake();
    });
  }

  // Do something at whose end the broadcast is in another phase: it is shown at once, and nothing records meanwhile.
  async #becomes(phase, work) {
    this.becoming = phase;
    this.changed();
    try {
      await this.#inTurn(work);
    } finally {
      if (this.becoming === phase) this.becoming = null;
      this.changed();
    }
  }

  #inTurn(work) {
    const done = this.turns.then(work);
    this.turns = done.catch(() => {});
    return done;
  }

  // Change the microphone, also while it is heard.
  changeMicrophone(changes) {
    return this.#inTurn(async () => {
      const { take, microphone } = this;
      const open = microphone.state === "open";
      if (take) await this.#endTake();
      microphone.close();
      Object.assign(microphone, changes);
      if ((open || take) && (await microphone.open()) && take && !this.becoming) this.#openTake();
    });
  }

  async saveTexts(texts) {
    if (this.phase === "waiting" && !this.server) return;
    await this.#tell({ name: "texts", body: texts });
  }

  // ---- from the microphone into the store

  #openTake() {
    const { stream } = this.microphone;
    if (this.closed || !stream) return;
    const take = { first: this.queue.begin(), parts: 0, number: 0, heardAt: performance.now() };
    this.take = take;
    this.changed();
    const hears = { onPart: (part) => this.#part(take, part), onError: () => this.#failed(take) };
    take.sound = this.takes(stream, hears);
    take.sound.catch(() => this.#failed(take));
  }

  async #endTake() {
    const { take } = this;
    if (!take) return;
    this.take = null;
    this.changed();
    await take.sound.then((sound) => sound.stop()).catch(() => {});
    await this.writes;
    await this.#closeLast();
    this.queue.finish();
    this.sender?.more();
  }

  // The sound broke off: what there is of it is closed as after a crash, when the broadcast goes on.
  #failed(take) {
    return this.#inTurn(async () => {
      if (this.take !== take) return;
      await this.#endTake();
      this.microphone.close("lost");
    });
  }

  #part(take, { slice, bytes, durationMs, ends }) {
    const number = take.first + slice;
    const part = take.parts++;
    take.heardAt = performance.now();
    this.writes = this.writes.then(async () => {
      await this.store.put({ number, part, bytes, ms: durationMs, ends });
      const fresh = number !== take.number;
      take.number = number;
      this.queue.add(number, durationMs, ends);
      if (fresh || ends) {
        this.record.seenAt = Date.now();
        await this.#keep();
        this.sender?.more();
      }
      this.changed();
    });
  }

  // Read what an earlier page left, and close its last slice.
  async #recover() {
    const { next, steps, sentMs } = this.record;
    this.queue = new Queue({ next, steps, sentMs });
    for (const { number, ms, ends } of await this.store.waiting()) this.queue.add(number, ms, ends);
    await this.#closeLast();
  }

  async #closeLast() {
    const [number, slice] = [...this.queue.slices].at(-1) ?? [];
    if (!slice || slice.complete) return;
    const parts = await this.store.parts(number).catch(() => null);
    if (!parts) return;
    const bytes = closeTake(parts.map((part) => part.bytes), { ends: true });
    if (slice.ms >= 1 && bytes.length) {
      await this.store.replace(number, bytes, slice.ms);
      this.queue.finish();
    } else {
      this.queue.takeBack(number);
      await this.#keep(number);
    }
  }

  // ---- to the server

  async #tell(step) {
    await this.writes;
    this.queue.push(step);
    await this.#keep();
    this.sender?.more();
    this.changed();
  }

  // Save what is known; a slice with this number need not be kept any longer.
  async #keep(number) {
    const { next, steps, sentMs } = this.queue;
    Object.assign(this.record, { next, steps, sentMs });
    if (number) await this.store.drop(number, this.record);
    else await this.store.save(this.record);
  }

  async #heard() {
    if (this.sender?.ended === "over") await this.#end();
    if (this.sender?.ended === "elsewhere" && this.take) {
      await this.#endTake();
      this.look();
    }
    if (this.capped && this.take) await this.#capped();
    this.changed();
  }

  // The broadcast is as large as it may be: nothing that is recorded from now on would be taken.
  async #capped() {
    this.record.capped = true; // also for a page that is loaded again
    await this.interrupt();
    await this.#keep();
    this.microphone.close();
  }

  // The server has taken a step: what it said of the state before is old.
  #told(step) {
    this.steps += 1;
    if (this.server) this.server = { ...this.server, state: stateAfter(this.server.state, step), client: this.record.client };
    this.look();
  }

  // Nothing more is taken.
  async #end() {
    if (this.closed) return;
    this.closed = this.phase === "waiting" ? "there" : "here";
    this.unsentMs = this.queue.recordedMs - this.queue.sentMs;
    await this.#endTake();
    this.microphone.close();
    this.sender?.close();
    await this.store.clear();
    this.changed();
  }

  // Ask how the broadcast stands.
  async look() {
    clearTimeout(this.timer);
    await this.#asked();
    if (this.closed || !this.sender) return;
    const onAir = ["live", "paused"].includes(this.phase) || this.record.stopped;
    const wait = onAir ? LOOK_MS.onAir : document.hidden ? LOOK_MS.hidden : LOOK_MS.else;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), wait);
  }

  async #asked() {
    const signal = AbortSignal.timeout(ANSWER_MS);
    const { steps, sender } = this;
    const answer = await fetch(new URL("state", this.base), { cache: "no-store", signal }).catch(() => null);
    const heard = (await answer?.json().catch(() => null)) ?? null;
    if (sender !== this.sender) return undefined; // another tab goes on
    if (answer?.status in GONE && heard?.problem === GONE[answer.status]) return this.#end();
    const said = answer?.ok && heard?.state ? heard : null; // a proxy may answer as it likes
    this.failing = !said;
    if (said && steps === this.steps) {
      this.server = said;
      if (this.isMine) for (const number of this.queue.learn(said.have)) await this.#there(number);
      if (said.state === "over" && !this.record.stopped && said.client === this.record.client) await this.#end();
    }
    return this.changed();
  }

  async #there(number) {
    this.queue.drop(number);
    await this.#keep(number);
  }
}
