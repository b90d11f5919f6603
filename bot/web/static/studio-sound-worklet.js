// The microphone's sound, taken from the graph of Web Audio in blocks of 20 ms, mixed to one channel.

const BLOCK = 960;

class Tap extends AudioWorkletProcessor {
  constructor() {
    super();
    this.open = true;
    this.port.onmessage = () => (this.open = false);
    this.begin();
  }

  begin() {
    this.block = new Float32Array(BLOCK);
    this.filled = 0;
  }

  process([channels]) {
    const length = channels[0]?.length ?? 128;
    for (let at = 0; at < length; at += 1) {
      let sum = 0;
      for (const channel of channels) sum += channel[at];
      this.block[this.filled] = channels.length ? sum / channels.length : 0;
      this.filled += 1;
      if (this.filled === BLOCK) this.send();
    }
    return this.open;
  }

  send() {
    this.port.postMessage({ samples: this.block, clock: Date.now() }, [this.block.buffer]);
    this.begin();
  }
}

registerProcessor("studio-tap", Tap);
