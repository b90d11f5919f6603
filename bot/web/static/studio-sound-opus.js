// Packets of Opus (RFC 6716, section 3) and their head (RFC 7845, section 5.1). Lengths are samples at 48 kHz.

import { Unreadable, ascii, joined, text, viewOf } from "./studio-sound-bytes.js";

export const RATE = 48000;
export const UNIT = 120; // the length of every packet is a multiple
export const USUAL_PRE_SKIP = 312; // libopus' lookahead
export const TAGS = joined([ascii("OpusTags"), Uint8Array.of(8, 0, 0, 0), ascii("aircheck"), Uint8Array.of(0, 0, 0, 0)]);

const LONGEST = 5760; // 120 ms
const FRAMES = [480, 960, 1920, 2880, 480, 960, 1920, 2880, 480, 960, 1920, 2880, 480, 960, 480, 960]; // table 2
const CELT_FRAMES = [120, 240, 480, 960];
const ANY_NUMBER = 3; // code of a packet that states its number of frames
const PADDED = 0x40;
const SILENT_CELT = 28; // the first configuration of CELT in full band
const SILENT_FRAME = [0xff, 0xfe]; // its silence flag, and nothing else
const NOT_RECORDED = 3; // the length of padding by which the archive lists it as a gap (`bot.audio.opus_packets`)

// Returns the length of a packet. Throws Unreadable for what is none.
export function samplesOf(packet) {
  if (!packet.length) throw new Unreadable("an Opus packet is empty");
  const config = packet[0] >> 3;
  const frame = config < FRAMES.length ? FRAMES[config] : CELT_FRAMES[config & 3];
  const code = packet[0] & 3;
  if (code === ANY_NUMBER && packet.length < 2) throw new Unreadable("an Opus packet has no frame count");
  const samples = frame * (code === ANY_NUMBER ? packet[1] & 63 : [1, 2, 2][code]);
  if (!samples || samples > LONGEST) throw new Unreadable("an Opus packet has no valid length");
  return samples;
}

// Yields packets that decode to zeros, for a multiple of UNIT samples. Packets without frames would be concealed: heard
// as what was said before. Their padding says that nothing was recorded.
export function* silence(samples) {
  for (let size = CELT_FRAMES.length - 1; size >= 0; size -= 1) {
    const most = LONGEST / CELT_FRAMES[size];
    for (let count = Math.floor(samples / CELT_FRAMES[size]); count > 0; count -= most) {
      yield silentPacket(SILENT_CELT + size, Math.min(count, most));
    }
    samples %= CELT_FRAMES[size];
  }
}

function silentPacket(config, count) {
  const frames = Array(count).fill(SILENT_FRAME).flat();
  return Uint8Array.of((config << 3) | ANY_NUMBER, PADDED | count, NOT_RECORDED, ...frames, ...Array(NOT_RECORDED).fill(0));
}

// Reads an OpusHead packet. Throws Unreadable for another one.
export function readHead(packet) {
  if (packet.length < 19 || text(packet, 0, 8) !== "OpusHead" || packet[8] >> 4) throw new Unreadable("there is no OpusHead");
  return { channels: packet[9], preSkip: viewOf(packet).getUint16(10, true) };
}

export function writeHead(channels, preSkip) {
  const head = joined([ascii("OpusHead"), Uint8Array.of(1, channels), new Uint8Array(9)]);
  const view = viewOf(head);
  view.setUint16(10, preSkip, true);
  view.setUint32(12, RATE, true);
  return head;
}
