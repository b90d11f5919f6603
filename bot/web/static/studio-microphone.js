// The microphone: asking for it, which ones there are, how loud it is, and whether it is muted.

const SPEECH = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
const PLAIN = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: { ideal: 2 } };
const WHY = {
  NotAllowedError: "refused",
  SecurityError: "refused",
  NotFoundError: "none",
  OverconstrainedError: "none",
  NotReadableError: "busy",
  AbortError: "busy",
};

const stopAll = (stream) => stream.getTracks().forEach((track) => track.stop());

export class Microphone {
  // `changed`: told when the state or the devices change; `lost`: told when an open microphone is taken away.
  constructor({ changed, lost }) {
    Object.assign(this, { changed, lost });
    this.state = "unknown"; // then asking, open, lost, or why it can't be had: refused, none, busy
    this.stream = null;
    this.device = "";
    this.plain = false;
    this.muted = false;
    this.devices = [];
    this.closings = 0;
    navigator.mediaDevices.addEventListener?.("devicechange", () => this.look());
  }

  // Whether the browser gives it without a question.
  async isAllowed() {
    try {
      return (await navigator.permissions.query({ name: "microphone" })).state === "granted";
    } catch {
      return false;
    }
  }

  // Open it, unless it is open; return whether it is.
  open() {
    this.opening ??= this.#open().finally(() => {
      this.opening = null;
    });
    return this.opening;
  }

  async #open() {
    if (this.state === "open") return true;
    if (!(await this.isAllowed())) this.#become("asking");
    const device = this.device ? { deviceId: { exact: this.device } } : {};
    const { closings } = this;
    let stream;
    try {
      stream = await this.#had({ ...(this.plain ? PLAIN : SPEECH), ...device });
    } catch (error) {
      if (closings === this.closings) this.#become(WHY[error.name] ?? "busy");
      return false;
    }
    if (closings !== this.closings) {
      stopAll(stream); // it is not wanted any more since the browser asked
      return false;
    }
    this.stream = stream;
    const [track] = this.stream.getAudioTracks();
    track.enabled = !this.muted;
    track.addEventListener("ended", () => {
      if (this.stream?.getAudioTracks()[0] !== track) return;
      this.close("lost");
      this.lost();
    });
    for (const change of ["mute", "unmute"]) track.addEventListener(change, () => this.changed());
    this.#listen();
    this.#become("open");
    this.look();
    return true;
  }

  async #had(audio) {
    try {
      return await navigator.mediaDevices.getUserMedia({ audio });
    } catch (error) {
      if (error.name !== "OverconstrainedError" || !this.device) throw error;
      this.device = ""; // the chosen one is gone: any other
      const { deviceId, ...rest } = audio;
      return navigator.mediaDevices.getUserMedia({ audio: rest });
    }
  }

  close(state = "unknown") {
    const { stream, context } = this;
    Object.assign(this, { stream: null, context: null, analyser: null, closings: this.closings + 1 });
    if (stream) stopAll(stream);
    context?.close().catch(() => {});
    this.#become(state);
  }

  mute(muted) {
    this.muted = muted;
    for (const track of this.stream?.getAudioTracks() ?? []) track.enabled = !muted;
  }

  // Whether the browser gives no sound of it for now: a call has it, or a switch of the device.
  get isHeld() {
    return this.stream?.getAudioTracks()[0]?.muted ?? false;
  }

  // Which ones there are: their names are told once one is open.
  async look() {
    const all = await navigator.mediaDevices.enumerateDevices().catch(() => []);
    this.devices = all.filter(({ kind, deviceId }) => kind === "audioinput" && deviceId);
    this.using = this.stream?.getAudioTracks()[0]?.getSettings().deviceId ?? this.device;
    this.changed();
  }

  // Whether the level can be told. Browsers let Web Audio stand still: until a key is pressed, or without a loudspeaker.
  get isMeasured() {
    return this.context?.state === "running" && Boolean(this.analyser);
  }

  // A key was pressed: what stood still for that may go on.
  wake() {
    if (this.context?.state === "suspended") this.context.resume().catch(() => {});
  }

  // The loudest sample since the last call, in decibels below full scale.
  peakDb() {
    if (!this.analyser) return -Infinity;
    this.analyser.getFloatTimeDomainData(this.samples);
    const peak = this.samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
    return 20 * Math.log10(peak);
  }

  #listen() {
    const Context = globalThis.AudioContext ?? globalThis.webkitAudioContext;
    try {
      this.context = new Context();
      this.context.addEventListener("statechange", () => this.changed());
      this.analyser = this.context.createAnalyser();
      this.analyser.fftSize = 16384; // a third of a second
      this.samples = new Float32Array(this.analyser.fftSize);
      this.context.createMediaStreamSource(this.stream).connect(this.analyser);
      this.context.resume().catch(() => {});
    } catch {
      this.analyser = null; // then there is no meter
    }
  }

  #become(state) {
    this.state = state;
    this.changed();
  }
}
