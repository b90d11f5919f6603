// What changes on a page that stays open: a broadcast begins, somebody else speaks, it ends, an episode comes. A small
// file beside the page says so; the changed parts are then taken from the page itself, as the server makes it, and
// nothing that plays is interrupted.

const LOOK_MS = 12000;
const GONE_MS = 20000; // what is missing for so long was removed: a proxy may answer 404 for a moment too

// Tell screen readers, politely.
function announce(text) {
  const box = document.querySelector("[data-announce]");
  if (box) box.textContent = text;
}

const news = {
  live: [],
  lead: 0, // of the server's clock, in milliseconds
  missedAt: {}, // by kind, the file of news or the page: since when it is missing

  begin(bar, player) {
    this.address = bar.dataset.now;
    this.page = bar.dataset.page;
    this.texts = bar.dataset;
    this.player = player;
    if (!this.address) return;
    setInterval(() => { if (!document.hidden || player.playing) this.look(); }, LOOK_MS);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.look(); });
    setInterval(() => this.tick(), 1000);
    this.tick();
    this.look();
  },

  of(code) {
    return this.live.find((one) => one.code === code);
  },

  serverNow() {
    return (Date.now() + this.lead) / 1000;
  },

  // One look at a time; a look that is asked for meanwhile follows.
  async look() {
    if (!this.address) return;
    if (this.looking) {
      this.again = true;
      return;
    }
    this.looking = true;
    try {
      await this.read();
    } finally {
      this.looking = false;
    }
    if (this.again) {
      this.again = false;
      this.look();
    }
  },

  async read() {
    const answer = await fetch(this.address).catch(() => null);
    if (isGone(answer)) return this.missing("news");
    if (!answer?.ok) return undefined;
    delete this.missedAt.news;
    const date = Date.parse(answer.headers.get("Date"));
    if (date) this.lead = date - Date.now();
    const said = await answer.json().catch(() => null);
    if (!said) return undefined;
    const before = this.live;
    this.live = said.live;
    if (this.known) this.tell(before, said.live);
    this.known = true;
    const shown = document.querySelector("[data-own]")?.dataset.own;
    const grown = shown && this.of(shown)?.heard_at !== before.find(({ code }) => code === shown)?.heard_at;
    if (said.page !== this.page || grown) await this.renew(said.page);
    for (const box of document.querySelectorAll("[data-newest]")) {
      const { speaking } = this.of(box.dataset.newest) ?? {};
      if (speaking) box.textContent = filled(box.dataset.text, { speaker: speaking });
    }
    return undefined;
  },

  tell(before, now) {
    const state = (list, one) => list.find(({ code }) => code === one.code)?.state;
    for (const one of now) {
      const was = state(before, one);
      if (one.state === was) continue;
      if (one.state === "pending") announce(filled(this.texts.sayAbout, { who: one.speakers }));
      if (one.state === "live") announce(filled(this.texts.sayBegins, { who: one.speakers }));
      if (one.state === "ended" && was) announce(filled(this.texts.sayOver, { who: one.speakers }));
    }
    for (const one of before) {
      if (one.state !== "ended" && !state(now, one)) announce(filled(this.texts.sayOver, { who: one.speakers }));
    }
  },

  // Take the changed parts from the page as it is now.
  async renew(page) {
    const answer = await fetch(location.href).catch(() => null);
    if (isGone(answer)) return this.missing("page");
    const text = answer?.ok ? await answer.text().catch(() => "") : "";
    const now = new DOMParser().parseFromString(text, "text/html");
    const main = now.querySelector("main");
    if (!main) return undefined;
    delete this.missedAt.page;
    // Ask the new page itself: it may be newer than what was said.
    this.page = now.querySelector("[data-now]")?.dataset.page ?? page;
    document.title = now.title;
    const focused = document.activeElement;
    freshen(document.querySelector("main"), main);
    dress(document);
    keepFocus(focused);
    this.follow();
    return undefined;
  },

  // What is played may have been removed. Of what is no longer on the air the playlist says whether it ended.
  async follow() {
    const { player } = this;
    const { track } = player;
    if (!track || (track.live && this.of(track.code))) return;
    const answer = await fetch(`${track.base}.mp3`, { method: "HEAD" }).catch(() => null);
    if (player.track !== track) return;
    if (answer?.ok) player.source?.checkEnd();
    else if (isGone(answer)) player.removed(track.gone || this.texts.sayClosed);
  },

  // The address answers no more: not at once, a proxy may say so for a moment.
  missing(what) {
    this.missedAt[what] ??= performance.now();
    if (performance.now() - this.missedAt[what] < GONE_MS) return;
    const { player } = this;
    const words = document.querySelector("[data-own]")?.dataset.removed ?? this.texts.sayGone;
    if (player.track) player.removed(words);
    const box = element("p", { className: "gone", textContent: words });
    const focused = document.activeElement;
    document.querySelector("main").replaceChildren(box);
    dress(document);
    keepFocus(focused);
    announce(words);
    this.address = "";
  },

  // How long it has been running.
  tick() {
    for (const box of document.querySelectorAll("[data-since]")) {
      const since = Date.parse(box.dataset.since) / 1000;
      const text = clock(this.serverNow() - since);
      if (box.textContent !== text) box.textContent = text;
    }
  },
};

function isGone(answer) {
  return answer?.status === 404 || answer?.status === 410;
}

// Give the focus back to what had it, else to what has its place now.
function keepFocus(focused) {
  if (document.activeElement === focused) return;
  const { wave } = focused.dataset;
  const heir = focused.isConnected ? focused : wave && document.querySelector(`[data-wave="${wave}"]`);
  focusOn(heir || document.querySelector("main"));
}

// Make a part of the page like a newer one, and touch only what differs: so the focus, what is selected and what is
// opened stay. What goes is removed before the rest takes its place: an element that is moved loses the focus.
function freshen(old, now) {
  if (old.isEqualNode(now)) return;
  if (old.dataset?.same && old.dataset.same === now.dataset?.same) return;
  for (const { name } of [...old.attributes]) {
    if (!now.hasAttribute(name) && !KEPT.includes(name)) old.removeAttribute(name);
  }
  for (const { name, value } of now.attributes) {
    if (old.getAttribute(name) !== value && !KEPT.includes(name)) old.setAttribute(name, value);
  }
  const spare = new Set(old.children);
  const matches = new Map();
  for (const child of now.children) {
    const match = [...spare].find((node) => isLike(node, child));
    if (!match) continue;
    matches.set(child, match);
    spare.delete(match);
  }
  for (const node of spare) node.remove();
  let place = old.firstChild;
  const drop = () => {
    const { nextSibling } = place;
    place.remove();
    place = nextSibling;
  };
  for (const child of now.childNodes) {
    const match = matches.get(child);
    if (match) {
      while (place && place.nodeType !== Node.ELEMENT_NODE) drop();
      if (match === place) place = place.nextSibling;
      else old.insertBefore(match, place);
      freshen(match, child);
    } else if (child.nodeType === Node.TEXT_NODE && place?.nodeType === Node.TEXT_NODE) {
      if (place.data !== child.data) place.data = child.data;
      place = place.nextSibling;
    } else {
      old.insertBefore(document.importNode(child, true), place);
    }
  }
  while (place) drop();
}

const KEPT = ["open"]; // what the reader opened stays open

// Whether one element becomes the other: the same kind, and the same recording, part or drawing where it says which.
function isLike(one, other) {
  if (one.nodeName !== other.nodeName || one.id !== other.id) return false;
  return one.dataset.key === other.dataset.key && one.dataset.same === other.dataset.same;
}
