// Ogg Opus (RFC 7845) as recorders stream it, read as it comes: its head and its packets.

import { Unreadable, text } from "./studio-sound-bytes.js";
import { BEGINS, ENDS, Packets, Pages } from "./studio-sound-ogg.js";
import { readHead, samplesOf } from "./studio-sound-opus.js";

export class OggReader {
  // Hands out what it reads as WebmReader does.
  constructor({ onHead, onPacket, onTrim }) {
    Object.assign(this, { onHead, onPacket, onTrim });
    this.pages = new Pages();
    this.packets = new Packets();
    this.serial = null; // of the stream of Opus
    this.headers = 2; // packets before the sound
    this.samples = 0;
  }

  // Takes bytes in. Throws Unreadable.
  push(bytes) {
    for (const page of this.pages.push(bytes)) this.page(page);
  }

  end() {
    if (this.serial === null) throw new Unreadable("there is no Opus stream");
  }

  page(page) {
    const opens = page.flags & BEGINS && text(page.body, 0, 8) === "OpusHead";
    if (opens && this.serial === null) this.serial = page.serial;
    if (page.serial !== this.serial) return;
    const sound = [];
    for (const packet of this.packets.of(page)) {
      if (this.headers) this.header(packet);
      else sound.push(packet);
    }
    if (sound.length) this.sound(page, sound);
  }

  header(packet) {
    if (this.headers === 2) {
      readHead(packet);
      this.onHead(packet);
    }
    this.headers -= 1;
  }

  // The granule says where the page ends: also behind a hole, and before the end of its packets where they are padded.
  sound(page, packets) {
    const samples = packets.reduce((sum, packet) => sum + samplesOf(packet), 0);
    const ends = page.flags & ENDS;
    const clock = page.granule < 0 || ends ? null : page.granule - samples;
    packets.forEach((packet, index) => this.onPacket(packet, index ? null : clock));
    const rest = this.samples + samples - page.granule;
    if (ends && page.granule >= 0 && rest > 0 && rest <= samples) this.onTrim(rest);
    this.samples = page.granule < 0 || ends ? this.samples + samples : page.granule;
  }
}
