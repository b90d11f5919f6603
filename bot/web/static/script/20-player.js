// The one player of a page: an audio element, and the track that it plays. It tells of each change by "change"; where
// it is in the track, by "time".
//
// A track is what a [data-play] link says of a recording: code, source, title, who, moment, room, page, art, seconds, live;
// and the link itself.

const SKIP_BACK_S = 15;
const SKIP_ON_S = 30;
const KEEP_EACH_S = 5; // the place is remembered so often
const RETRY_MS = 5000;
const MOST_RETRIES = 24; // two minutes
const NO_TIMELINE = Promise.resolve(null);

class Player extends EventTarget {
  constructor(texts) {
    super();
    this.texts = texts;
    this.audio = element("audio", { preload: "none" });
    this.audio.dataset.audio = "";
    this.track = null;
    this.error = "";
    this.note = ""; // why a live track is not heard yet
    this.wanted = false; // whether somebody wants to hear it, also while it waits for sound
    this.cued = new Map(); // by code: where to begin
    this.timelines = new Map(); // by code: promises
    this.speed = Number(memory.read("speed", 1)) || 1;
    this.audio.volume = Math.min(1, Math.max(0, Number(memory.read("volume", 1)) || 0)) || 1;
    this.listen();
  }

  listen() {
    const { audio } = this;
    const on = (names, act) => names.split(" ").forEach((name) => audio.addEventListener(name, act));
    on("play pause playing waiting ended emptied loadedmetadata durationchange ratechange volumechange", () => this.changed());
    on("timeupdate seeking seeked durationchange", () => this.dispatchEvent(new Event("time")));
    on("play", () => { this.wanted = true; });
    on("playing", () => { this.retries = 0; this.say(""); });
    on("pause", () => { this.wanted = false; this.keep(); });
    on("ended", () => this.keep());
    on("timeupdate", () => {
      if (Math.abs(audio.currentTime - (this.keptAt ?? -Infinity)) >= KEEP_EACH_S) this.keep();
    });
    on("error", () => this.failed());
    on("volumechange", () => memory.write("volume", audio.volume));
    addEventListener("pagehide", () => this.keep());
    addEventListener("online", () => { if (this.error && (this.wanted || this.retries > MOST_RETRIES)) this.play(); });
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }

  say(error) {
    if (this.error === error) return;
    this.error = error;
    this.changed();
  }

  get playing() {
    return Boolean(this.track) && !this.audio.paused;
  }

  // Whether what it plays goes on: a broadcast that has ended is heard to its end.
  get isLive() {
    return Boolean(this.track?.live) && !this.source?.over;
  }

  // Playing is wanted, but there is no sound: it is being loaded, or did not arrive yet.
  get busy() {
    return this.wanted && this.audio.readyState < HTMLMediaElement.HAVE_FUTURE_DATA && !this.audio.ended;
  }

  get duration() {
    const { duration, seekable } = this.audio;
    const told = this.track?.live ? 0 : this.track?.seconds ?? 0;
    if (Math.abs(duration - told) < 1) return told; // browsers count the decoder's delay in or not
    if (Number.isFinite(duration) && duration > 0) return duration;
    if (this.track?.live) return seekable.length ? seekable.end(seekable.length - 1) : 0;
    return this.track?.seconds ?? 0;
  }

  get at() {
    if (!this.audio.currentSrc || this.audio.readyState) return this.audio.currentTime;
    return this.begin;
  }

  get canSeek() {
    return Boolean(this.track) && !this.source?.endless && this.duration > 0;
  }

  isOn(code) {
    return this.track?.code === code;
  }

  // Where a recording that is not playing would begin.
  beginOf(code) {
    return this.cued.get(code) ?? memory.place(code);
  }

  cue(code, seconds) {
    this.cued.set(code, seconds);
    this.dispatchEvent(new Event("time"));
  }

  load(track) {
    this.leave();
    this.track = track;
    this.error = "";
    this.note = "";
    this.retries = 0;
    this.begin = track.live ? 0 : this.beginOf(track.code);
    this.changed();
    if (track.live) {
      this.source = new LiveSource(this, track);
      this.source.begin();
    } else {
      this.open(track.source, this.begin);
    }
  }

  // End what is playing. The element stays, since browsers allow an element that was played by hand to play again.
  leave() {
    this.keep();
    this.source?.close();
    this.source = null;
    this.wanted = false;
    clearTimeout(this.retrying);
    if (!this.track) return;
    this.track = null;
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.audio.load();
    this.changed();
  }

  open(source, at) {
    const { audio } = this;
    this.keptAt = at;
    this.begin = at;
    audio.src = source;
    audio.preload = "metadata";
    audio.defaultPlaybackRate = this.track.live ? 1 : this.speed;
    audio.playbackRate = audio.defaultPlaybackRate;
    if (at) audio.currentTime = at; // the default position until there are metadata
  }

  // A browser may refuse to play, or a later call interrupt it: the buttons show the state.
  play() {
    this.wanted = true;
    const { audio } = this;
    if (this.error) {
      this.retries = 0;
      this.retry();
    }
    this.source?.beforePlay();
    audio.play().catch(() => {});
    this.changed();
  }

  pause() {
    this.wanted = false;
    this.audio.pause();
    this.changed();
  }

  toggle(track) {
    if (track && !this.isOn(track.code)) this.load(track);
    else if (this.wanted) return this.pause();
    return this.track && this.play();
  }

  seek(seconds) {
    if (!this.canSeek) return;
    const at = Math.min(Math.max(0, seconds), this.duration);
    this.begin = at;
    this.audio.currentTime = at;
    this.dispatchEvent(new Event("time"));
  }

  skip(seconds) {
    this.seek(this.at + seconds);
  }

  playFrom(track, seconds) {
    this.cued.delete(track.code);
    if (!this.isOn(track.code)) {
      this.load(track);
      if (track.live) return this.play();
    }
    this.seek(seconds);
    return this.play();
  }

  setSpeed(speed) {
    this.speed = speed;
    memory.write("speed", speed);
    if (this.track && !this.track.live) {
      this.audio.defaultPlaybackRate = speed;
      this.audio.playbackRate = speed;
    }
    this.changed();
  }

  keep() {
    const { track, audio } = this;
    if (!track || track.live || !audio.readyState) return;
    this.keptAt = audio.currentTime;
    this.cued.delete(track.code);
    memory.keepPlace(track.code, audio.currentTime, this.duration);
  }

  // The recording has ended and is an episode now. The sound goes on at the same place: both have one timeline, to
  // 23 ms of decoder delay.
  becomeEpisode(at) {
    const { track, wanted } = this;
    this.source?.close();
    this.source = null;
    this.track = { ...track, live: false, source: `${track.base}.mp3` };
    this.note = "";
    this.forget(track.code);
    this.open(this.track.source, at);
    if (wanted) this.audio.play().catch(() => {});
    this.changed();
  }

  // The recording was removed, or this listener lost access: stop for good.
  removed(words) {
    const { track } = this;
    this.leave();
    this.track = track;
    this.say(words);
  }

  // What it knows of a recording is out of date.
  forget(code) {
    this.timelines.delete(code);
    this.changed();
  }

  // Say in words what went wrong. A network that is away comes back by itself.
  async failed() {
    const { audio, track } = this;
    if (!track || this.source?.handlesErrors) return;
    const { code } = audio.error ?? {};
    if (code === MediaError.MEDIA_ERR_DECODE) return this.giveUp(this.texts.sayDecoding);
    const answer = await fetch(track.source, { method: "HEAD" }).catch(() => null);
    if (this.track !== track) return;
    if (isGone(answer)) this.giveUp(this.texts.sayClosed);
    else if (answer?.ok && code === MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED) this.giveUp(this.texts.sayDecoding);
    else if (this.retries++ < MOST_RETRIES) {
      this.say(this.texts.sayNetwork);
      this.retrying = setTimeout(() => this.retry(), RETRY_MS);
    } else this.giveUp(this.texts.sayBroken);
  }

  giveUp(words) {
    this.pause();
    this.say(words);
  }

  retry() {
    clearTimeout(this.retrying);
    const { track, audio } = this;
    if (!track || this.source) return;
    const wanted = this.wanted;
    this.open(track.source, audio.readyState ? audio.currentTime : this.begin);
    if (wanted) audio.play().catch(() => {});
    this.wanted = wanted;
  }

  // Bars, gaps, chapters and speakers of a recording: in the page, else a file beside its audio. Null where there are
  // none.
  timeline(track) {
    if (track.live) return NO_TIMELINE;
    if (!this.timelines.has(track.code)) {
      const inline = document.querySelector(`script[data-timeline="${track.code}"]`);
      this.timelines.set(track.code, inline
        ? Promise.resolve(JSON.parse(inline.textContent))
        : fetch(`${track.base}.waveform.json`).then((answer) => (answer.ok ? answer.json() : null)).catch(() => null));
    }
    return this.timelines.get(track.code);
  }
}

// Read a track from the link that plays it.
function trackOf(link) {
  const { play, title, who, moment, room, art, seconds, page } = link.dataset;
  const source = link.href;
  return {
    code: play,
    source,
    base: source.replace(/(-live)?\.mp3$/, ""),
    title: title ?? "",
    who: who ?? "",
    moment: moment ?? "",
    room: room ?? "",
    art: art ?? "",
    page: page ?? "",
    seconds: Number(seconds) || 0,
    live: "livePlay" in link.dataset,
    gone: link.dataset.gone ?? "",
    link,
  };
}
