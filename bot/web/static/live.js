"use strict";

// The player of a live broadcast: it begins at the live edge and can seek back to the start. Without this file the
// page plays the endless MP3.

const PLAYLIST = "application/vnd.apple.mpegurl";
const AGAIN_MS = 5000; // pause before the next try, after an error or while there is no audio yet
const REFRESH_MS = 15000; // between two looks at what a page says of a running session
const ASK_MS = 30000; // between checks for the end, while nobody listens or there is no audio
const GONE_MS = 25000; // a recording that is missing for so long was removed; less than ASK_MS
const TWICE_MS = 60000; // two decoding errors within this time: give up on HLS
const BEHIND = 4; // segments of six seconds between the newest one and the player, so that a late chunk is no pause

class LivePlayer {
  constructor(box) {
    this.box = box;
    this.code = box.dataset.live;
    this.audio = box.querySelector("audio");
    this.button = box.querySelector("[data-edge]");
    this.button.addEventListener("click", () => this.toTheEdge());
    // Safari's own HLS is better than hls.js; other browsers that claim to have one don't play MP3 in it.
    const native = /^Apple/.test(navigator.vendor) && this.audio.canPlayType(PLAYLIST) !== "";
    this.button.hidden = !native && !(window.Hls && Hls.isSupported());
    if (native) this.playNatively();
    else if (this.button.hidden) this.playEndless();
    else this.playByHlsJs();
    this.missedAt = Infinity;
    this.asking = setInterval(() => {
      if (!document.hidden && (this.audio.paused || this.isWaiting)) this.ask();
    }, ASK_MS);
  }

  get playlist() {
    return `${this.code}.m3u8`;
  }

  playByHlsJs() {
    const { audio } = this;
    let [started, listening] = [false, false];
    let at = -1; // start position; -1 is the live edge
    let first; // name of the first segment
    let failedAt = -Infinity;
    audio.removeAttribute("src"); // of the endless MP3
    audio.load();
    audio.preload = "metadata"; // hls.js provides the source, so this fetches nothing
    const hls = this.hls = new Hls({
      enableWorker: false,
      autoStartLoad: false, // load nothing before somebody listens
      liveSyncDurationCount: BEHIND,
      liveDurationInfinity: false, // so that the seek bar reaches the start
      backBufferLength: 300,
      enableID3MetadataCues: false, // segments' tags hold only their times
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
      if (listening) this.play(); // hls.js stops the player when it loads a source again
    });
    const reload = () => {
      at = audio.currentTime || at;
      hls.loadSource(this.playlist);
    };
    hls.on(Hls.Events.LEVEL_UPDATED, (_, { details }) => {
      const [{ relurl }] = details.fragments;
      if (first && first !== relurl) reload(); // audio was removed or inserted: what the player holds is outdated
      else if (!details.live) this.ended();
      first = relurl;
    });
    hls.on(Hls.Events.ERROR, (_, error) => {
      if (!error.fatal || !this.hls) return;
      if (error.type === Hls.ErrorTypes.MEDIA_ERROR) {
        const again = performance.now() - failedAt < TWICE_MS;
        failedAt = performance.now();
        if (again || error.details.includes("Codec")) this.playEndless(); // this browser can't decode it
        else {
          at = audio.currentTime || at;
          hls.recoverMediaError();
          hls.startLoad(at);
        }
        if (listening) this.play();
        return;
      }
      if (error.details === Hls.ErrorDetails.MANIFEST_LOAD_ERROR) this.waiting(true);
      // The playlist is not there yet, is being made again after a removal, or the network is down.
      const gone = hls.levels.length === 0 || error.response?.code === 404;
      if (gone && first) this.ask();
      setTimeout(() => {
        if (!this.hls) return;
        if (gone) reload();
        else hls.startLoad();
      }, AGAIN_MS);
    });
    this.whenRipe(() => hls.loadSource(this.playlist));
    hls.attachMedia(audio);
  }

  playNatively() {
    this.audio.removeAttribute("src"); // of the endless MP3
    this.audio.load();
    this.whenRipe(() => this.playSource(this.playlist));
  }

  // Until a player can begin far enough behind the newest segment, the playlist's answer has a Retry-After: a player
  // that begins nearer falls silent when a chunk is a little late. Asked for by HEAD: while a client reads the
  // playlist, the server inserts no late chunk.
  async whenRipe(begin) {
    const answer = await fetch(this.playlist, { method: "HEAD" }).catch(() => null);
    if (this.over) return;
    const ripe = answer?.ok && !answer.headers.has("Retry-After");
    this.waiting(!ripe);
    if (ripe) begin();
    else setTimeout(() => { if (!this.over) this.whenRipe(begin); }, AGAIN_MS);
  }

  // The endless MP3 needs nothing but the browser's own player, and can't seek.
  playEndless() {
    this.endHls();
    this.endless = true;
    this.button.hidden = true;
    this.playSource(`${this.code}-live.mp3`);
  }

  playSource(source) {
    const { audio } = this;
    audio.src = source;
    audio.addEventListener("loadedmetadata", () => this.waiting(false));
    audio.addEventListener("error", () => this.stopped(!audio.paused));
    audio.addEventListener("ended", () => this.stopped(true));
    audio.addEventListener("play", () => {
      if (this.over) return;
      if (audio.ended) this.toTheEdge();
      else if (!audio.readyState) this.waiting(true); // the endless MP3 sends nothing before the first audio
    });
    audio.addEventListener("pause", () => this.checkEnd());
    audio.addEventListener("durationchange", () => { if (Number.isFinite(audio.duration)) this.checkEnd(); });
  }

  // Read from the playlist whether the broadcast has ended. The player can't tell: WebKit gives a growing playlist a
  // length and an end too (https://github.com/WebKit/WebKit/pull/69638), and the MP3 ends when the network fails.
  async checkEnd() {
    if (this.over) return;
    const list = await fetch(this.playlist).then((answer) => answer.text()).catch(() => "");
    if (list.includes("#EXT-X-ENDLIST")) this.ended();
  }

  // Check whether the broadcast is still live, while nobody listens or the playlist is gone. When the endless MP3 is
  // gone, the recording's page says why.
  async ask() {
    const stream = await fetch(`${this.code}-live.mp3`, { method: "HEAD" }).catch(() => null);
    const answer = stream?.status === 404 ? await fetch(this.code).catch(() => null) : null;
    const text = answer?.ok ? await answer.text().catch(() => "") : "";
    if (this.over) return;
    if (answer?.status !== 404) this.missedAt = Infinity;
    else if (performance.now() - this.missedAt >= GONE_MS) this.removed(); // not at once: a proxy may answer 404 too
    else this.missedAt = Math.min(this.missedAt, performance.now());
    if (text && !text.includes(`data-live="${this.code}"`)) this.ended();
  }

  // The player stopped: the broadcast has ended or not begun, or the network failed.
  async stopped(listening) {
    const { audio } = this;
    if (this.swapped) return;
    await this.checkEnd();
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
    if (!hls) audio.load(); // begins where the playlist says; not all players know the live edge
    else if (hls.liveSyncPosition) audio.currentTime = hls.liveSyncPosition;
    this.play();
  }

  // A browser may refuse to play, or a later call interrupt it: the player's own button shows the state.
  play() {
    this.audio.play().catch(() => {});
  }

  get isWaiting() {
    return !this.box.querySelector("[data-wait]").hidden;
  }

  waiting(is) {
    this.box.querySelector("[data-wait]").hidden = !is;
  }

  // The broadcast has ended. A listener hears it to the end, for all segments stay; the episode takes over when that
  // interrupts nobody.
  ended() {
    if (this.over) return;
    this.close();
    this.box.querySelector("[data-state]").textContent = this.box.dataset.ended;
    const { audio } = this;
    const used = [...document.querySelectorAll("audio")].some((player) => !player.paused || player.played.length);
    if (!used) location.reload(); // nothing was played: show the episode's page
    else if (audio.paused) this.toTheEpisode();
    else if (audio.played.length) audio.addEventListener("pause", () => this.toTheEpisode(), { once: true });
    else { // the listener waits for the first audio
      this.toTheEpisode();
      this.play();
    }
  }

  // The recording was removed, or this listener lost access: stop for good.
  removed() {
    this.close();
    this.swapped = true;
    this.endHls();
    this.audio.pause();
    this.audio.remove();
    this.box.querySelector(".live").textContent = this.box.dataset.removed;
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
    audio.currentTime = at; // the same timeline, to 23 ms of decoder delay
  }

  endHls() {
    if (this.hls) this.hls.destroy();
    this.hls = null;
  }
}

// A session's page changes with each message: who spoke last, and the table.
async function refresh() {
  const parts = document.querySelectorAll("[data-fresh]");
  if (!parts.length || document.hidden) return;
  const answer = await fetch(location.href).catch(() => null);
  const text = answer?.ok ? await answer.text().catch(() => "") : "";
  const page = new DOMParser().parseFromString(text, "text/html");
  for (const part of parts) {
    const now = page.querySelector(`[data-fresh="${part.dataset.fresh}"]`);
    if (now && now.innerHTML !== part.innerHTML) part.innerHTML = now.innerHTML;
  }
}

for (const box of document.querySelectorAll("[data-live]")) new LivePlayer(box);
setInterval(refresh, REFRESH_MS);
