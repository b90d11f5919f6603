// Hear yourself before going live: some seconds are recorded and played back, in this browser alone.

const MOST_MS = 15000;

export class Rehearsal {
  constructor(player, changed) {
    Object.assign(this, { player, changed });
    this.state = null; // "rehearsing", "rehearsed"
  }

  begin(stream) {
    this.end();
    const parts = [];
    const recorder = new MediaRecorder(stream);
    recorder.ondataavailable = ({ data }) => parts.push(data);
    recorder.onstop = () => {
      if (this.recorder !== recorder) return;
      this.recorder = null;
      this.address = URL.createObjectURL(new Blob(parts, { type: recorder.mimeType }));
      this.player.src = this.address;
      this.player.play().catch(() => {}); // a button is there
      this.#become("rehearsed");
    };
    recorder.start();
    this.recorder = recorder;
    this.timer = setTimeout(() => this.listen(), MOST_MS);
    this.#become("rehearsing");
  }

  // Enough was said: play it.
  listen() {
    clearTimeout(this.timer);
    if (this.recorder?.state === "recording") this.recorder.stop();
  }

  // Forget it.
  end() {
    clearTimeout(this.timer);
    const { recorder, address } = this;
    Object.assign(this, { recorder: null, address: null });
    if (recorder?.state === "recording") recorder.stop();
    this.player.pause();
    this.player.removeAttribute("src");
    if (address) URL.revokeObjectURL(address);
    this.#become(null);
  }

  #become(state) {
    this.state = state;
    this.changed();
  }
}
