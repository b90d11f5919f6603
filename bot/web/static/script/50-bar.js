// The bar at the foot of the page: the controls of the one player. It is there once something was loaded.

class Bar {
  constructor(box, player) {
    this.box = box;
    this.player = player;
    this.texts = box.dataset;
    this.scrubber = new Scrubber(box.querySelector("[data-scrub]"), player, () => player.track);
    for (const button of box.querySelectorAll("[data-do]")) {
      button.addEventListener("click", () => this.act(button.dataset.do));
    }
    this.find("speed").addEventListener("change", (event) => player.setSpeed(Number(event.target.value)));
    this.find("speed").value = String(player.speed);
    if (!this.find("speed").value) { // what was remembered is none of the choices
      player.speed = 1;
      this.find("speed").value = "1";
    }
    this.find("volume").addEventListener("input", (event) => { player.audio.volume = Number(event.target.value); });
    // On phones a page can't set the volume: the setting is ignored.
    this.find("volume").closest("label").hidden = matchMedia("(hover: none)").matches;
    player.addEventListener("change", () => this.show());
    player.addEventListener("time", () => this.move());
    setInterval(() => { if (player.track?.live) this.move(); }, 1000);
  }

  find(name) {
    return this.box.querySelector(`[data-bar-${name}]`);
  }

  act(what) {
    const { player } = this;
    const acts = {
      toggle: () => player.toggle(),
      back: () => player.skip(-SKIP_BACK_S),
      on: () => player.skip(SKIP_ON_S),
      previous: () => this.neighbour(-1),
      next: () => this.neighbour(1),
      edge: () => player.source?.toTheEdge(),
      more: () => this.more(),
      close: () => this.close(),
    };
    acts[what]?.();
  }

  // The tracks of the page's list, in its order.
  tracks() {
    return [...document.querySelectorAll("[data-row] [data-play]:not([data-live-play])")].map(trackOf);
  }

  neighbour(step, plays = true) {
    const tracks = this.tracks();
    const here = tracks.findIndex(({ code }) => this.player.isOn(code));
    const other = here < 0 ? undefined : tracks[here + step];
    if (other && plays) this.player.toggle(other);
    return other;
  }

  more() {
    const open = this.box.classList.toggle("open");
    this.box.querySelector('[data-do="more"]').setAttribute("aria-expanded", String(open));
  }

  // The focus goes back to the link that plays it: the bar is no more.
  close() {
    const { link, code } = this.player.track;
    this.player.leave();
    this.show();
    const heir = link.isConnected ? link : document.querySelector(`[data-play="${code}"]`);
    focusOn(heir ?? document.querySelector("main"));
  }

  show() {
    const { player, box } = this;
    const { track } = player;
    box.hidden = !track;
    document.documentElement.classList.toggle("has-bar", Boolean(track));
    if (!track) return;
    const name = this.find("title");
    name.textContent = track.title;
    if (track.page) name.href = track.page;
    else name.removeAttribute("href");
    this.find("who").textContent = track.who || (track.moment && spokenDate("day", track.moment));
    const art = this.find("art");
    art.hidden = !track.art;
    if (track.art && art.getAttribute("src") !== track.art) art.src = track.art;
    const toggle = box.querySelector('[data-do="toggle"]');
    toggle.setAttribute("aria-label", player.wanted ? this.texts.sayPause : this.texts.sayPlay);
    toggle.classList.toggle("is-on", player.wanted);
    toggle.classList.toggle("is-busy", player.busy);
    for (const [what, step] of [["previous", -1], ["next", 1]]) {
      box.querySelector(`[data-do="${what}"]`).disabled = !this.neighbour(step, false);
    }
    for (const what of ["back", "on"]) box.querySelector(`[data-do="${what}"]`).disabled = !player.canSeek;
    box.querySelector('[data-do="edge"]').hidden = !player.isLive || !player.source?.hls;
    box.classList.toggle("is-live", player.isLive);
    this.find("speed").closest("label").hidden = track.live;
    this.find("volume").value = String(player.audio.volume);
    const download = this.find("download");
    download.hidden = track.live;
    download.href = track.source;
    this.words();
    this.chapters(track);
    this.move();
  }

  // What is wrong, or what it waits for.
  words() {
    const { error, note, track } = this.player;
    const said = this.find("said");
    const text = error || (note && this.player.wanted ? waitingFor(track.code) || this.texts.sayWaiting : "");
    said.hidden = !text;
    if (said.textContent !== text) said.textContent = text;
    said.classList.toggle("is-error", Boolean(error));
  }

  async chapters(track) {
    const timeline = await this.player.timeline(track);
    if (this.player.track !== track) return;
    const box = this.find("chapters");
    const marks = timeline?.chapters ?? [];
    box.hidden = marks.length < 2;
    if (this.listed === timeline) return;
    this.listed = timeline;
    box.open = false;
    box.querySelector("ol").replaceChildren(...marks.map(([at, title]) => {
      const time = element("span", { className: "clock", textContent: clock(at) });
      const button = element("button", { type: "button" }, time, element("bdi", { textContent: title }));
      button.addEventListener("click", () => {
        this.player.seek(at);
        this.player.play();
      });
      return element("li", {}, button);
    }));
  }

  move() {
    const { player } = this;
    const { track } = player;
    if (!track) return;
    const [at, length] = [clock(player.at), clock(player.duration)];
    this.find("at").textContent = player.canSeek ? at : "";
    this.find("length").textContent = player.canSeek ? length : "";
    this.find("behind").textContent = track.live ? lateness(player, this.texts) : "";
    const behind = player.source?.behindEdge ?? null;
    const near = behind !== null && behind < 2 * SEGMENT_S && player.wanted;
    this.box.querySelector('[data-do="edge"]').disabled = near;
  }
}

// How late a live listener hears what is said, in words; "" where nobody can tell.
function lateness(player, texts) {
  const known = news.of(player.track.code);
  if (!known?.flows || known.state !== "live" || !player.canSeek || player.source?.over) return "";
  const since = news.serverNow() - Date.parse(known.heard_at) / 1000;
  const seconds = since + known.arrived_ms / 1000 - player.audio.currentTime;
  if (seconds < 8) return texts.sayFew;
  if (seconds < 55) return filled(texts.saySeconds, { n: Math.max(10, Math.round(seconds / 5) * 5) });
  return filled(Math.round(seconds / 60) === 1 ? texts.sayMinute : texts.sayMinutes, { n: Math.round(seconds / 60) });
}

// The page's words for what a live recording waits for.
function waitingFor(code) {
  return document.querySelector(`[data-live="${code}"]`)?.dataset.waiting;
}
