// The source of a live recording: it begins at the live edge and can seek back to the start. hls.js is fetched when
// somebody presses play for the first time; a browser without it plays the endless MP3.

const PLAYLIST = "application/vnd.apple.mpegurl";
const AGAIN_MS = 5000; // pause before the next try, after an error or while there is no audio yet
const TWICE_MS = 60000; // two decoding errors within this time: give up on HLS
const BEHIND = 4; // segments of six seconds between the newest one and the player, so that a late chunk is no pause
const SEGMENT_S = 6;

let hlsScript; // the promise of it

// Fetch hls.js, at most once. Fulfilled as well where it can't be had.
function fetchHls(address) {
  hlsScript ??= new Promise((done) => {
    const script = element("script", { src: address, onload: done, onerror: done });
    document.head.append(script);
  });
  return hlsScript;
}

class LiveSource {
  constructor(player, track) {
    this.player = player;
    this.track = track;
    this.audio = player.audio;
    this.handlesErrors = true;
    this.closing = new AbortController(); // ends all that listens to the audio element
    this.on("pause", () => { if (this.over) this.toTheEpisode(); });
  }

  begin() {
    // Safari's own HLS is better than hls.js; other browsers that claim to have one don't play MP3 in it.
    if (/^Apple/.test(navigator.vendor) && this.audio.canPlayType(PLAYLIST) !== "") this.playNatively();
    else {
      this.waiting(true);
      fetchHls(this.player.texts.hls).then(() => {
        if (this.closed) return;
        if (window.Hls && Hls.isSupported()) this.playByHlsJs();
        else this.playEndless();
      });
    }
  }

  get playlist() {
    return `${this.track.base}.m3u8`;
  }

  get closed() {
    return this.closing.signal.aborted;
  }

  on(name, act) {
    this.audio.addEventListener(name, act, { signal: this.closing.signal });
  }

  close() {
    this.closing.abort();
    this.endHls();
  }

  playByHlsJs() {
    const { audio } = this;
    let [started, listening] = [this.player.wanted, this.player.wanted];
    let at = -1; // start position; -1 is the live edge
    let first; // name of the first segment
    let failedAt = -Infinity;
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
    this.on("play", () => {
      if (!started && this.hls) hls.startLoad(-1);
      started = listening = true;
    });
    this.on("pause", () => { listening = false; });
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
      if (gone && first) news.look();
      setTimeout(() => {
        if (!this.hls) return;
        if (gone) reload();
        else hls.startLoad();
      }, AGAIN_MS);
    });
    this.whenRipe(() => hls.loadSource(this.playlist));
    hls.attachMedia(audio);
    if (listening) this.play();
  }

  playNatively() {
    this.whenRipe(() => this.playSource(this.playlist));
  }

  // Until a player can begin far enough behind the newest segment, the playlist's answer has a Retry-After: a player
  // that begins nearer falls silent when a chunk is a little late. Asked for by HEAD: while a client reads the
  // playlist, the server inserts no late chunk.
  async whenRipe(begin) {
    const answer = await fetch(this.playlist, { method: "HEAD" }).catch(() => null);
    if (this.closed) return;
    const ripe = answer?.ok && !answer.headers.has("Retry-After");
    this.waiting(!ripe);
    if (ripe) begin();
    else setTimeout(() => { if (!this.closed) this.whenRipe(begin); }, AGAIN_MS);
  }

  // The endless MP3 needs nothing but the browser's own player, and can't seek.
  playEndless() {
    this.endHls();
    this.endless = true;
    this.playSource(`${this.track.base}-live.mp3`);
  }

  playSource(source) {
    const { audio, player } = this;
    const { wanted } = player;
    audio.src = source;
    this.on("loadedmetadata", () => this.waiting(false));
    this.on("error", () => this.stopped(player.wanted));
    this.on("ended", () => this.stopped(true));
    this.on("pause", () => this.checkEnd());
    this.on("durationchange", () => { if (Number.isFinite(audio.duration)) this.checkEnd(); });
    this.waiting(!audio.readyState); // the endless MP3 sends nothing before the first audio
    if (wanted) this.play();
  }

  // Read from the playlist whether the broadcast has ended. The player can't tell: WebKit gives a growing playlist a
  // length and an end too (https://github.com/WebKit/WebKit/pull/69638), and the MP3 ends when the network fails.
  async checkEnd() {
    if (this.over || this.closed) return;
    const list = await fetch(this.playlist).then((answer) => answer.text()).catch(() => "");
    if (!this.closed && list.includes("#EXT-X-ENDLIST")) this.ended();
  }

  // The player stopped: the broadcast has ended or not begun, or the network failed.
  async stopped(listening) {
    await this.checkEnd();
    if (this.closed) return;
    if (this.over) {
      this.toTheEpisode();
      return;
    }
    news.look(); // it may have been removed
    this.waiting(true);
    setTimeout(() => {
      if (this.closed) return;
      this.audio.load();
      if (listening) this.play();
    }, AGAIN_MS);
  }

  // A player that stood still for long, or at the end, goes on where the playlist says.
  beforePlay() {
    if (!this.hls && this.audio.ended && !this.over) this.audio.load();
  }

  toTheEdge() {
    const { audio, hls } = this;
    if (!hls) audio.load(); // begins where the playlist says; not all players know the live edge
    else if (hls.liveSyncPosition) audio.currentTime = hls.liveSyncPosition;
    this.player.play();
  }

  // How far the player is behind the place where it would begin now, in seconds; null where nobody can tell.
  get behindEdge() {
    if (!this.hls?.liveSyncPosition) return null;
    return Math.max(0, this.hls.liveSyncPosition - this.audio.currentTime);
  }

  play() {
    this.audio.play().catch(() => {});
  }

  waiting(is) {
    this.player.note = is ? "waiting" : "";
    this.player.changed();
  }

  // The broadcast has ended. A listener hears it to the end, for all segments stay; the episode takes over when that
  // interrupts nobody.
  ended() {
    if (this.over || this.closed) return;
    this.over = true;
    this.waiting(false);
    news.look();
    // The listener pauses, or waits for the first audio.
    if (this.audio.paused || !this.audio.played.length) this.toTheEpisode();
    else this.player.changed();
  }

  toTheEpisode() {
    if (this.closed) return;
    const { audio } = this;
    this.player.becomeEpisode(audio.ended || this.endless ? 0 : audio.currentTime);
  }

  endHls() {
    if (this.hls) this.hls.destroy();
    this.hls = null;
  }
}
