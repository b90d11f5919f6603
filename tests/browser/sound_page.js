// A page with a microphone and nothing else: what it records is kept for the test.
import { closeTake, openTake } from "/static/studio-sound.js";
import { Encoding } from "/static/studio-sound-webcodecs.js";

const PLAIN = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };

window.parts = [];
window.recordedMs = 0;
window.errors = [];

window.begin = async (kind) => {
    window.stream = await navigator.mediaDevices.getUserMedia({ audio: PLAIN });
    window.take = await openTake(window.stream, { onPart: keep, onError: ({ reason }) => window.errors.push(reason) }, { kind });
    return { kind: window.take.kind, mime: window.take.mime };
};

// Ends the track as a device does that is gone: a page that ends its own track is not told.
window.unplug = () => {
    const [track] = window.stream.getTracks();
    track.stop();
    track.dispatchEvent(new Event("ended"));
};

window.slices = () => Object.values(Object.groupBy(window.parts, ({ slice }) => slice)).map((parts) => base64(closeTake(parts.map(({ bytes }) => bytes))));

window.told = () => window.parts.map(({ bytes, ...part }) => ({ ...part, size: bytes.length }));

// Encodes floats in blocks of 10 ms, with holes before some of them: { number of the block: samples }.
window.encode = async (sound, holes) => {
    const bytes = Uint8Array.from(atob(sound), (letter) => letter.charCodeAt(0));
    const samples = new Float32Array(bytes.buffer);
    const encoding = new Encoding(keep, (error) => window.errors.push(String(error)));
    for (let at = 0; at < samples.length; at += 480) encoding.put(samples.slice(at, at + 480), holes[at / 480]);
    await encoding.end();
};

// What goes into the encoder, with silence for the holes before it.
window.heard = [];
const { put } = Encoding.prototype;
Encoding.prototype.put = function (samples, hole = 0) {
    window.heard.push(new Float32Array(hole), samples.slice());
    put.call(this, samples, hole);
};
window.heardSound = async () => base64(new Uint8Array(await new Blob(window.heard).arrayBuffer()));

window.ready = true;

function keep(part) {
    window.parts.push(part);
    window.recordedMs += part.durationMs;
}

function base64(bytes) {
    let letters = "";
    for (const byte of bytes) letters += String.fromCharCode(byte);
    return btoa(letters);
}
