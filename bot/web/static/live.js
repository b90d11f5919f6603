"use strict";

// A running broadcast: from its live edge, and back to its beginning. Without this file the endless MP3 is played.

const PLAYLIST = "application/vnd.apple.mpegurl";
const AGAIN_MS = 5000; // after what went wrong, and until there is something to hear
const BEHIND = 4; // segments of six seconds: so far behind the newest sound a late chunk is not noticed

class OnAir {
  constructor(box) {
    this.box = box;
    this.code = box.dataset.live;
    this.audio = box.querySelector("audio");
    this.button = box.querySelector("[data-edge]");
    this.over = false;
    // Safari plays it by itself, and better; others that say so don't play MP3 this way.
    const native = /^Apple/.test(navigator.vendor) && this.audio.canPlayType(PLAYLIST) !== "";
    if (!native && !(window.Hls && Hls.isSupported())) return;
    this.button.addEventListener("click", () => this.toTheEdge());
    this.button.hidden = false;
    if (native) this.playNatively();
    else this.playByHls();
  }

  get playlist() {
    return `${this.code}.m3u8`;
  }

  playByHls() {
    let wanted = false;
    this.audio.removeAttribute("src"); // the endless MP3
    this.audio.load();
    this.audio.preload = "metadata"; // of what hls.js puts there: nothing is fetched by that
    const hls = this.hls = new Hls({
      enableWorker: false,
      autoStartLoad: false, // nobody's line is used before they listen
      liveSyncDurationCount: BEHIND,
      liveDurationInfinity: false, // so that the bar leads back to the beginning
      backBufferLength: 300,
      enableID3MetadataCues: false, // the tags of segments tell nothing but the time
      enableEmsgMetadataCues: false,
    });
    this.audio.addEventListener("play", () => {
      if (!wanted) hls.startLoad(-1);
      wanted = true;
    });
    hls.on(Hls.Events.MANIFEST_PARSED, () => {
      this.waiting(false);
      if (wanted) hls.startLoad(-1);
    });
    hls.on(Hls.Events.LEVEL_UPDATED, (_, { details }) => {
      if (!details.live) this.ended();
    });
    hls.on(Hls.Events.ERROR, (_, error) => {
      if (!error.fatal || this.swapped) return;
      if (error.type === Hls.ErrorTypes.MEDIA_ERROR) {
        hls.recoverMediaError();
        return;
      }
      if (error.details === Hls.ErrorDetails.MANIFEST_LOAD_ERROR) this.waiting(true);
      // Not there yet; or something was taken out of it, and it goes on under other names.
      setTimeout(() => { if (!this.swapped) hls.loadSource(this.playlist); }, AGAIN_MS);
    });
    hls.loadSource(this.playlist);
    hls.attachMedia(this.audio);
  }

  playNatively() {
    const { audio } = this;
    audio.src = this.playlist;
    audio.addEventListener("loadedmetadata", () => this.waiting(false));
    audio.addEventListener("durationchange", () => { if (Number.isFinite(audio.duration)) this.ended(); });
    audio.addEventListener("error", () => {
      if (this.swapped) return;
      const wanted = !audio.paused;
      this.waiting(true);
      setTimeout(() => {
        audio.load();
        if (wanted) audio.play();
      }, AGAIN_MS);
    });
  }

  toTheEdge() {
    const { audio, hls } = this;
    const end = audio.seekable.length ? audio.seekable.end(audio.seekable.length - 1) : 0;
    const edge = hls ? hls.liveSyncPosition : Math.max(0, end - BEHIND * 6);
    if (edge) audio.currentTime = edge;
    audio.play();
  }

  waiting(is) {
    this.box.querySelector("[data-wait]").hidden = !is;
  }

  // Nothing more comes: who listens goes on, for all segments stay. The episode takes over when nobody is interrupted.
  ended() {
    if (this.over) return;
    this.over = true;
    this.box.classList.add("over");
    this.box.querySelector("[data-state]").textContent = "Ended";
    this.button.hidden = true;
    if (this.audio.paused) this.toTheEpisode();
    else this.audio.addEventListener("pause", () => this.toTheEpisode(), { once: true });
  }

  toTheEpisode() {
    const { audio, hls } = this;
    const at = audio.ended ? 0 : audio.currentTime;
    this.swapped = true;
    if (hls) hls.destroy();
    audio.src = `${this.code}.mp3`;
    audio.currentTime = at; // the same timeline, to the sample
  }
}

for (const box of document.querySelectorAll("[data-live]")) new OnAir(box);
