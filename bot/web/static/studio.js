// The page of a studio: what is shown, and what its buttons do. It works on `studio-broadcast.js`; which words and
// buttons belong to which state is in `studio-words.js`, the words themselves in the page.

import { Broadcast } from "./studio-broadcast.js";
import { squareOf } from "./studio-cover.js";
import { Microphone } from "./studio-microphone.js";
import { Rehearsal } from "./studio-rehearsal.js";
import { Tabs } from "./studio-tabs.js";
import { barOf, clockOf, filled, keysOf, lengthOf, levelOf, networkOf, stateOf, troubleOf } from "./studio-words.js";

const TICK_MS = 250;
const LEVEL_WORDS_TICKS = 8; // so that the words below the meter don't flicker
const RECORDS = ["starting", "live"];
const ENDED = ["ended", "closed-by-room"];
const CONTROLS = "button, a, input, select";
const root = document.querySelector("[data-studio]");
const at = (selector) => root.querySelector(selector);
const camel = (name) => name.replace(/-./g, (pair) => pair[1].toUpperCase());
const say = (name, values = {}) => filled(root.dataset[camel(`say-${name}`)] ?? "", values);
const show = (element, shown) => {
  element.hidden = !shown;
};
const write = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

const page = {
  mine: null, // whether this tab has the studio; null: not known yet
  support: supportOf(),
  state: null,
  ticks: 0,

  async begin() {
    show(at("[data-scripted]"), true);
    if (this.support !== "yes") return this.render();
    const base = new URL(".", location.href);
    const studio = await nameOf(base.pathname);
    this.microphone = new Microphone({ changed: () => this.render(), lost: () => this.lost() });
    this.rehearsal = new Rehearsal(at("[data-playback]"), () => this.render());
    this.broadcast = new Broadcast({ studio, base, microphone: this.microphone, changed: () => this.render() });
    this.tabs = new Tabs(studio, { got: (waited) => this.got(waited), leave: () => this.leave() });
    this.hear();
    if (!(await this.tabs.begin())) this.mine = false;
    this.render();
    setInterval(() => this.tick(), TICK_MS);
    return undefined;
  },

  async got(waited) {
    this.mine = true;
    await this.broadcast.begin(!waited);
    this.fillIn();
    this.render();
    const wanted = ["ready", "interrupted"].includes(this.state);
    if (wanted && (await this.microphone.isAllowed())) await this.microphone.open();
    else this.microphone.look();
  },

  async leave() {
    this.rehearsal.end();
    await this.broadcast.leave();
    this.mine = false;
    this.render();
  },

  // The microphone is gone while it is open: what it gave is kept.
  async lost() {
    this.rehearsal.end();
    await this.broadcast.interrupt();
  },

  hear() {
    root.addEventListener("click", (event) => this.once(event), { capture: true });
    root.addEventListener("click", (event) => {
      const key = event.target.closest?.("[data-do]");
      if (key) this.do(key.dataset.do);
    });
    at("[data-devices]").addEventListener("change", ({ target }) => this.broadcast.changeMicrophone({ device: target.value }));
    at("[data-plain]").addEventListener("change", ({ target }) => this.broadcast.changeMicrophone({ plain: target.checked }));
    at("[data-texts]").addEventListener("submit", (event) => {
      event.preventDefault();
      this.saveTexts();
    });
    at("[data-cover]").addEventListener("change", ({ target }) => this.sendCover(target.files[0]));
    at("[data-cover-gone]").addEventListener("click", () => this.removeCover());
    at("[data-question]").addEventListener("close", ({ target }) => {
      if (target.returnValue === "stop") this.broadcast.stop();
    });
    for (const pressed of ["pointerup", "keydown"]) addEventListener(pressed, () => this.microphone.wake());
    addEventListener("online", () => this.back());
    addEventListener("offline", () => this.render());
    document.addEventListener("visibilitychange", () => {
      this.waking = false;
      if (!document.hidden) this.back();
    });
    addEventListener("pageshow", ({ persisted }) => {
      if (persisted) location.reload();
    });
    addEventListener("beforeunload", (event) => {
      const { take, queue, closed } = this.broadcast;
      if (!this.mine || closed || (!take && (queue?.isEmpty ?? true))) return;
      event.preventDefault();
      event.returnValue = say("leave");
    });
  },

  // A second click that was meant for a control which is gone does nothing to the one in its place.
  once(event) {
    const control = event.target.closest("label")?.control ?? event.target.closest(CONTROLS);
    if (event.detail <= 1) this.clicked = control;
    else if (control !== this.clicked) {
      event.preventDefault();
      event.stopPropagation();
    }
  },

  back() {
    this.broadcast.sender?.nudge();
    if (this.mine && this.broadcast.sender) this.broadcast.look();
    this.render();
  },

  async do(what) {
    const { broadcast, microphone, rehearsal } = this;
    if (what === "go") {
      rehearsal.end();
      await broadcast.start(this.texts());
    } else if (what === "on") {
      await broadcast.goOn();
    } else if (what === "pause") {
      await broadcast.pause();
    } else if (what === "mute") {
      microphone.mute(!microphone.muted);
      this.announce(say(microphone.muted ? "muted" : "unmuted"));
    } else if (what === "stop") {
      const question = at("[data-question]");
      question.returnValue = "";
      question.showModal();
    } else if (what === "retry") {
      await microphone.open();
    } else if (what === "here") {
      this.tabs.ask();
    } else if (what === "rehearse") {
      if (await microphone.open()) rehearsal.begin(microphone.stream);
    } else if (what === "listen") {
      rehearsal.listen();
    }
    this.render();
  },

  // ---- about the broadcast

  texts() {
    const form = new FormData(at("[data-texts]"));
    return { title: form.get("title").trim(), description: form.get("description").trim() };
  },

  // Put in what the server knows, once.
  fillIn() {
    const { server } = this.broadcast ?? {}; // none where the browser can't do what the studio needs
    if (!server || this.filledIn) return;
    this.filledIn = true;
    const form = at("[data-texts]");
    form.elements.title.value ||= server.title ?? "";
    form.elements.description.value ||= server.description ?? "";
  },

  async saveTexts() {
    await this.broadcast.saveTexts(this.texts());
    this.savingTexts = true;
    this.render();
  },

  async sendCover(file) {
    if (!file) return;
    const shown = at("[data-cover-shown]");
    const jpeg = await squareOf(file, shown).catch(() => null);
    show(shown, jpeg !== null);
    if (!jpeg) return write(at("[data-cover-said]"), say("cover-bad"));
    const refused = await this.askCover("PUT", jpeg);
    write(at("[data-cover-said]"), say({ 0: "cover-saved", 400: "cover-bad", 413: "cover-bad", 415: "cover-bad" }[refused] ?? "cover-unsent"));
    return undefined;
  },

  async removeCover() {
    const refused = await this.askCover("DELETE");
    write(at("[data-cover-said]"), say(refused ? "cover-unsent" : "cover-gone"));
    if (refused) return;
    show(at("[data-cover-shown]"), false);
    at("[data-cover]").value = "";
    at("[data-cover]").focus();
  },

  // Return 0 where it was done, else the status of the answer; 1 where there was none.
  async askCover(method, body) {
    const headers = { "X-Client": this.broadcast.record.client };
    const answer = await fetch(new URL("cover", this.broadcast.base), { method, body, headers }).catch(() => null);
    if (!answer?.ok) return answer?.status ?? 1;
    this.broadcast.server.cover = method === "PUT";
    this.render();
    return 0;
  },

  // ---- what is shown

  render() {
    if (!root.isConnected) return;
    const { broadcast, microphone, rehearsal, support, mine } = this;
    const { server, closed, failing, record, take, phase } = broadcast ?? {};
    const state = stateOf({
      support,
      tab: mine,
      server,
      closed,
      failing,
      client: record?.client,
      phase,
      stopped: record?.stopped,
      capped: broadcast?.capped,
      take: Boolean(take),
      mic: microphone?.state,
      rehearsal: rehearsal?.state,
    });
    if (state !== this.state) this.enter(state);
    this.renderKeys(keysOf(state, phase));
    const onAir = mine && ["live", "paused"].includes(phase) && !closed && state !== "device";
    show(at("[data-badge]"), state === "live" || (onAir && state !== "starting" && state !== "paused"));
    show(at("[data-muted]"), Boolean(microphone?.muted && take));
    this.renderMute();
    this.renderSilence();
    const measured = microphone?.state === "open" && microphone.isMeasured;
    show(at("[data-meter]"), measured && !["ended", "paused"].includes(state));
    show(at("[data-playback]"), state === "rehearsed");
    const usable = mine && Boolean(server) && !closed && state !== "device" && phase !== "over";
    show(at("[data-setup]"), usable && state !== "capped");
    show(at("[data-about]"), usable);
    this.renderDevices();
    this.renderNetwork(state);
    this.renderTexts();
    show(at("[data-cover-gone]"), Boolean(server?.cover));
    show(at("[data-cover-set]"), Boolean(server?.cover) && at("[data-cover-shown]").hidden);
    this.fillIn();
    this.stayAwake(RECORDS.includes(state));
  },

  enter(state) {
    this.state = state;
    root.dataset.state = state;
    const headline = say(state);
    write(at("[data-headline]"), headline);
    write(at("[data-tell]"), root.dataset[camel(`tell-${state}`)] ?? "");
    document.title = `${headline} · ${root.dataset.room}`;
    if (state !== "loading") this.announce(headline);
  },

  announce(text) {
    write(at("[data-announce]"), text);
  },

  // A key that goes takes the focus along: the first one of those that are there now has it.
  renderKeys(shown) {
    const keys = [...root.querySelectorAll("[data-keys] [data-do]")];
    const focused = document.activeElement;
    for (const key of keys) show(key, shown.includes(key.dataset.do));
    if (!keys.includes(focused) || !focused.hidden) return;
    (keys.find((key) => !key.hidden) ?? at("[data-headline]")).focus();
  },

  renderMute() {
    const key = at("[data-do=mute]");
    const muted = Boolean(this.microphone?.muted);
    key.setAttribute("aria-pressed", String(muted));
  },

  // A microphone that gives nothing while the page records: its speaker may not know.
  renderSilence() {
    const silent = Boolean(this.broadcast?.isSilent);
    if (silent !== Boolean(this.silent) && this.broadcast?.take) this.announce(say(silent ? "silent" : "sounding"));
    this.silent = silent;
    show(at("[data-silent]"), silent);
  },

  renderDevices() {
    const select = at("[data-devices]");
    const { devices = [], using = "" } = this.microphone ?? {};
    const wanted = devices.map(({ deviceId, label }, index) => [deviceId, label || say("device-default", { n: index + 1 })]);
    if (!wanted.length) wanted.push(["", say("device-default", { n: 1 })]);
    const key = JSON.stringify([wanted, using]);
    if (key === this.devicesShown || document.activeElement === select) return;
    this.devicesShown = key;
    select.replaceChildren(...wanted.map(([value, text]) => new Option(text, value, false, value === using)));
  },

  renderTexts() {
    if (!this.savingTexts) return;
    const { queue, sender } = this.broadcast;
    const waits = queue.steps.some(({ name }) => name === "texts");
    const failing = !navigator.onLine || sender?.failing;
    write(at("[data-texts-said]"), waits ? (failing ? say("not-saved") : "") : say("saved"));
    if (!waits) this.savingTexts = false;
  },

  renderNetwork(state) {
    const { broadcast } = this;
    const { queue, sender, server, store, phase } = broadcast ?? {};
    const begun = Boolean(this.mine && queue && (phase !== "waiting" || queue.recordedMs));
    const there = begun && !["device", "closed"].includes(state);
    show(at("[data-foot]"), there);
    show(at("[data-elapsed]"), there);
    const memory = store?.trouble && this.mine ? say(`memory-${store.trouble}`) : "";
    show(at("[data-memory]"), Boolean(memory));
    write(at("[data-memory]"), memory);
    const link = at("[data-page]");
    show(link, Boolean(server?.page && there));
    if (server?.page) link.href = server.page;
    const heard = there && ENDED.includes(state) ? (root.dataset[camel(`say-heard-${server?.heard}`)] ?? "") : "";
    show(at("[data-heard]"), Boolean(heard));
    write(at("[data-heard]"), heard);
    if (!there) return;
    write(at("[data-elapsed]"), clockOf(queue.recordedMs));
    at("[data-elapsed]").dataset.ms = Math.round(queue.recordedMs);
    const listens = RECORDS.includes(state) || state === "paused" || state === "interrupted";
    write(at("[data-listeners]"), listens ? say("listeners", { n: server?.listeners ?? 0 }) : "");
    const { failing, full, catching, lost } = sender ?? {};
    const telling = queue.steps.length > 0 && !broadcast.closed;
    const about = { online: navigator.onLine, failing, full, catching, waitingMs: queue.waitingMs, recording: Boolean(broadcast.take || broadcast.becoming), telling };
    const { text, ms } = broadcast.unsentMs ? { text: "net-over", ms: broadcast.unsentMs } : networkOf(about);
    const { text: unit, n } = lengthOf(ms);
    const refused = lost ? ` ${say("net-lost", { n: lost })}` : "";
    write(at("[data-network]"), say(text, { time: say(unit, { n }) }) + refused);
    this.tellNetwork(text);
  },

  // Screen readers are told when the connection or the space goes and comes back, not of each second.
  tellNetwork(text) {
    const gone = troubleOf(text);
    const was = this.networkGone ?? null;
    if (gone !== was) this.announce(say(gone ? `net-${gone}` : `net-${was}-back`));
    this.networkGone = gone;
  },

  tick() {
    this.ticks += 1;
    if (this.microphone?.isMeasured) {
      const db = this.microphone.peakDb();
      const bar = at("[data-level]");
      bar.style.setProperty("--level", barOf(db).toFixed(3));
      bar.classList.toggle("is-high", levelOf(db) === "level-high");
      this.loudest = Math.max(this.loudest ?? -Infinity, db);
      if (this.ticks % LEVEL_WORDS_TICKS === 0) {
        const words = this.microphone.muted ? "muted" : levelOf(this.loudest);
        write(at("[data-level-words]"), say(words));
        this.loudest = -Infinity;
      }
    }
    this.renderSilence();
    this.renderNetwork(this.state);
  },

  async stayAwake(wanted) {
    if (!wanted) {
      this.awake?.release().catch(() => {});
      this.awake = null;
    } else if ((!this.awake || this.awake.released) && !document.hidden && !this.waking) {
      this.waking = true; // until the page is in sight again, where it is refused
      this.awake = await navigator.wakeLock?.request("screen").catch(() => null);
      this.waking = !this.awake;
    }
  },
};

// Whether this browser can do what the studio needs.
function supportOf() {
  if (!globalThis.isSecureContext) return "insecure";
  const needed = [navigator.mediaDevices?.getUserMedia, globalThis.MediaRecorder, navigator.locks, globalThis.BroadcastChannel];
  const known = [globalThis.crypto?.randomUUID, globalThis.AbortSignal?.timeout, globalThis.HTMLDialogElement];
  return [...needed, ...known].every(Boolean) ? "yes" : "old";
}

// A name for the studio in this browser's storage. Its address is a secret, which is not kept there.
async function nameOf(path) {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(path));
  return [...new Uint8Array(hash, 0, 16)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

if (root) page.begin();
