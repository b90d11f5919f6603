"use strict";

// A running broadcast: from its live edge, and back to its beginning. Without this file the endless MP3 is played.

const PLAYLIST = "application/vnd.apple.mpegurl";
const AGAIN_MS = 5000; // after what went wrong, and until there is something to hear
const ASK_MS = 30000; // while nobody listens, or there is nothing to hear
const GONE_MS = 25000; // what is away for so long was taken away; less than it takes to ask again
const TWICE_MS = 60000; // what fails twice within this will not be better the third time
const BEHIND = 4; // segments of six seconds: so far behind the newest sound a late chunk is not noticed

class OnAir {
  constructor(box) {
    this.box = box;
    this.code = box.dataset.live;
    this.audio = box.querySelector("audio");
    this.button = box.querySelector("[data-edge]");
    this.button.addEventListener("click", () => this.toTheEdge());
    // Safari plays it by itself, and better; others that say so don't play MP3 this way.
    const native = /^Apple/.test(navigator.vendor) && this.audio.canPlayType(PLAYLIST) !== "";
    this.button.hidden = !native && !(window.Hls && Hls.isSupported());
    if (native) this.playByItself();
    else if (this.button.hidden) this.playEndless();
    else this.playByHls();
    this.missedAt = Infinity;
    this.asking = setInterval(() => {
      if (!document.hidden && (this.audio.paused || this.isWaiting)) this.ask();
    }, ASK_MS);
  }

  get playlist() {
    return `${this.code}.m3u8`;
  }

  playByHls() {
    const { audio } = this;
    let [started, listening] = [false, false];
    let at = -1; // where to begin: at the edge
    let first; // segment, by its name
    let failedAt = -Infinity;
    audio.removeAttribute("src"); // the endless MP3
    audio.load();
    audio.preload = "metadata"; // of what hls.js puts there: nothing is fetched by that
    const hls = this.hls = new Hls({
      enableWorker: false,
      autoStartLoad: false, // nobody's line is used before they listen
      liveSyncDurationCount: BEHIND,
      liveDurationInfinity: false, // so that the bar leads back to the beginning
      backBufferLength: 300,
      enableID3MetadataCues: false, // the tags of segments tell nothing but the time
      enableEmsgMetadataCues: false,
    });
    audio.addEventListener("play", () => {
      if (!started && this.hls) hls.startLoad(-1);
      started = listening = true;
    });
    audio.addEventListener("pause", () => { listening = false; });
    hls.on(Hls.Events.MANIFEST_PARSED, () => {
      this.waiting(false);
      if (started) hls.startLoad(at);
      if (listening) this.play(); // hls.js stops the player when it begins anew
    });
    const anew = () => {
      at = audio.currentTime || at;
      hls.loadSource(this.playlist);
    };
    hls.on(Hls.Events.LEVEL_UPDATED, (_, { details }) => {
      const [{ relurl }] = details.fragments;
      if (first && first !== relurl) anew(); // sound was taken out, or put in: the player holds what is no more
      else if (!details.live) this.ended();
      first = relurl;
    });
    hls.on(Hls.Events.ERROR, (_, error) => {
      if (!error.fatal || !this.hls) return;
      if (error.type === Hls.ErrorTypes.MEDIA_ERROR) {
        const again = performance.now() - failedAt < TWICE_MS;
        failedAt = performance.now();
        if (again || error.details.includes("Codec")) this.playEndless(); // it can't be decoded here
        else {
          at = audio.currentTime || at;
          hls.recoverMediaError();
          hls.startLoad(at);
        }
        if (listening) this.play();
        return;
      }
      if (error.details === Hls.ErrorDetails.MANIFEST_LOAD_ERROR) this.waiting(true);
      // Not there yet; or just being made without what was taken out; or the line is broken.
      const gone = hls.levels.length === 0 || error.response?.code === 404;
      if (gone && first) this.ask();
      setTimeout(() => {
        if (!this.hls) return;
        if (gone) anew();
        else hls.startLoad();
      }, AGAIN_MS);
    });
    this.whenRipe(() => hls.loadSource(this.playlist));
    hls.attachMedia(audio);
  }

  playByItself() {
    this.audio.removeAttribute("src"); // the endless MP3
    this.audio.load();
    this.whenRipe(() => this.playAlone(this.playlist));
  }

  // Whoever begins nearer to the newest sound falls silent when a chunk is a little late: until then the list asks to
  // come again. It is only looked at: while somebody reads it, a chunk that comes late is not put in its place.
  async whenRipe(begin) {
    const answer = await fetch(this.playlist, { method: "HEAD" }).catch(() => null);
    if (this.over) return;
    const ripe = answer?.ok && !answer.headers.has("Retry-After");
    this.waiting(!ripe);
    if (ripe) begin();
    else setTimeout(() => { if (!this.over) this.whenRipe(begin); }, AGAIN_MS);
  }

  // The endless MP3 needs nothing but the browser's own player, and has no way back.
  playEndless() {
    this.endHls();
    this.endless = true;
    this.button.hidden = true;
    this.playAlone(`${this.code}-live.mp3`);
  }

  playAlone(source) {
    const { audio } = this;
    audio.src = source;
    audio.addEventListener("loadedmetadata", () => this.waiting(false));
    audio.addEventListener("error", () => this.stopped(!audio.paused));
    audio.addEventListener("ended", () => this.stopped(true));
    audio.addEventListener("play", () => {
      if (this.over) return;
      if (audio.ended) this.toTheEdge();
      else if (!audio.readyState) this.waiting(true); // the endless MP3 is silent until there is something
    });
    audio.addEventListener("pause", () => this.look());
    audio.addEventListener("durationchange", () => { if (Number.isFinite(audio.duration)) this.look(); });
  }

  // Whether nothing more comes: the list says it. For WebKit a growing one too can have a length, and end
  // (https://github.com/WebKit/WebKit/pull/69638); and the MP3 ends when the line breaks.
  async look() {
    if (this.over) return;
    const list = await fetch(this.playlist).then((answer) => answer.text()).catch(() => "");
    if (list.includes("#EXT-X-ENDLIST")) this.ended();
  }

  // Whether it is on the air still, for who doesn't listen and for whom the list is gone. When the endless MP3 is gone
  // the recording's page says why.
  async ask() {
    const stream = await fetch(`${this.code}-live.mp3`, { method: "HEAD" }).catch(() => null);
    const answer = stream?.status === 404 ? await fetch(this.code).catch(() => null) : null;
    const text = answer?.ok ? await answer.text().catch(() => "") : "";
    if (this.over) return;
    if (answer?.status !== 404) this.missedAt = Infinity;
    else if (performance.now() - this.missedAt >= GONE_MS) this.takenAway(); // not at once: a proxy says so too
    else this.missedAt = Math.min(this.missedAt, performance.now());
    if (text && !text.includes(`data-live="${this.code}"`)) this.ended();
  }

  // Over; or not there yet, or the line is broken.
  async stopped(listening) {
    const { audio } = this;
    if (this.swapped) return;
    await this.look();
    if (!this.over) await this.ask();
    if (this.swapped) return;
    if (this.over) {
      this.toTheEpisode();
      return;
    }
    this.waiting(true);
    setTimeout(() => {
      if (this.swapped) return;
      audio.load();
      if (listening) this.play();
    }, AGAIN_MS);
  }

  toTheEdge() {
    const { audio, hls } = this;
    if (!hls) audio.load(); // then it begins where the list says; not all know where its end is
    else if (hls.liveSyncPosition) audio.currentTime = hls.liveSyncPosition;
    this.play();
  }

  // A browser may refuse it, and what comes after may overtake it: the player's own button shows what is.
  play() {
    this.audio.play().catch(() => {});
  }

  get isWaiting() {
    return !this.box.querySelector("[data-wait]").hidden;
  }

  waiting(is) {
    this.box.querySelector("[data-wait]").hidden = !is;
  }

  // Nothing more comes: who listens goes on, for all segments stay. The episode takes over when nobody is interrupted.
  ended() {
    if (this.over) return;
    this.close();
    this.box.querySelector("[data-state]").textContent = "Ended";
    const { audio } = this;
    const used = [...document.querySelectorAll("audio")].some((one) => !one.paused || one.played.length);
    if (!used) location.reload(); // nobody has a place to lose: the page is the episode's now
    else if (audio.paused) this.toTheEpisode();
    else if (audio.played.length) audio.addEventListener("pause", () => this.toTheEpisode(), { once: true });
    else { // they wait for the first sound
      this.toTheEpisode();
      this.play();
    }
  }

  // It was removed, or is for this listener no more: nothing is asked for again.
  takenAway() {
    this.close();
    this.swapped = true;
    this.endHls();
    this.audio.pause();
    this.audio.remove();
    this.box.querySelector(".live").textContent = "This can’t be heard here any more.";
  }

  close() {
    this.over = true;
    clearInterval(this.asking);
    this.waiting(false);
    this.box.classList.add("over");
    this.button.hidden = true;
  }

  toTheEpisode() {
    if (this.swapped) return;
    const { audio } = this;
    const at = audio.ended || this.endless ? 0 : audio.currentTime;
    this.swapped = true;
    this.endHls();
    audio.src = `${this.code}.mp3`;
    audio.currentTime = at; // the same timeline, but for the 23 ms that a decoder is late
  }

  endHls() {
    if (this.hls) this.hls.destroy();
    this.hls = null;
  }
}

for (const box of document.querySelectorAll("[data-live]")) new OnAir(box);
