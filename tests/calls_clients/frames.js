// Frames of sound as livekit-client's worker encrypts them, each with the frame that went in. `orders` is what a script
// can have it do.
const NAME = "speaker";
const FRAMES = 4; // of each key
const SETTINGS = {
    sharedKey: false,
    ratchetSalt: "LKFrameEncryptionKey",
    ratchetWindowSize: 10,
    failureTolerance: 10,
    keyringSize: 256,
    keySize: 128,
};

globalThis.orders = {
    async open() {
        return {};
    },
    // Encrypts with each key in turn; `ratchets` says how often it is ratcheted by then.
    async capture({ keys }) {
        const worker = new Worker("/e2ee.js");
        await ask(worker, { kind: "init", data: { keyProviderOptions: SETTINGS, loglevel: "warn" } }, "initAck");
        const pairs = await pipe(worker);
        const captured = [];
        for (const { key, index, ratchets } of keys) {
            if (!ratchets) await setKey(worker, key, index);
            else await ask(worker, { kind: "ratchetRequest", data: { participantIdentity: NAME, keyIndex: index } }, "ratchetKey");
            const from = pairs.length + 2; // what is under way may have the key before
            await until(() => pairs.length >= from + FRAMES);
            for (const pair of pairs.slice(from, from + FRAMES)) captured.push({ key, index, ratchets, ...pair });
        }
        worker.terminate();
        return { frames: captured };
    },
};

// Sends the microphone through the worker; returns a growing list of pairs.
async function pipe(worker) {
    const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
    const here = new RTCPeerConnection({ encodedInsertableStreams: true });
    const there = new RTCPeerConnection();
    here.onicecandidate = ({ candidate }) => candidate && there.addIceCandidate(candidate);
    there.onicecandidate = ({ candidate }) => candidate && here.addIceCandidate(candidate);
    const sender = here.addTrack(microphone.getAudioTracks()[0], microphone);
    const streams = sender.createEncodedStreams();
    const plain = [];
    const pairs = [];
    const before = tap((frame) => plain.push(frame));
    const after = tap((frame) => pairs.push({ plain: plain.shift(), frame }));
    streams.readable.pipeTo(before.writable);
    after.readable.pipeTo(streams.writable);
    const data = {
        participantIdentity: NAME,
        readableStream: before.readable,
        writableStream: after.writable,
        trackId: "track",
        hasPacketTrailer: false,
    };
    worker.postMessage({ kind: "encode", data }, [before.readable, after.writable]);
    await here.setLocalDescription();
    await there.setRemoteDescription(here.localDescription);
    await there.setLocalDescription();
    await here.setRemoteDescription(there.localDescription);
    return pairs;
}

function tap(note) {
    return new TransformStream({
        transform(frame, controller) {
            note(btoa(String.fromCharCode(...new Uint8Array(frame.data))));
            controller.enqueue(frame);
        },
    });
}

async function setKey(worker, key, index) {
    const bytes = Uint8Array.from(atob(key), (char) => char.charCodeAt(0));
    const material = await crypto.subtle.importKey("raw", bytes, "HKDF", false, ["deriveBits", "deriveKey"]);
    const data = { participantIdentity: NAME, isPublisher: true, key: material, keyIndex: index, updateCurrentKeyIndex: true };
    worker.postMessage({ kind: "setKey", data });
    // The worker does one thing after the other, and confirms this one.
    await ask(worker, { kind: "enable", data: { enabled: true, participantIdentity: NAME } }, "enable");
}

function ask(worker, message, kind) {
    return new Promise((answered) => {
        worker.addEventListener("message", function hear({ data }) {
            if (data.kind !== kind) return;
            worker.removeEventListener("message", hear);
            answered();
        });
        worker.postMessage(message);
    });
}

function until(look) {
    return new Promise((found) => {
        (function again() {
            if (look()) return found();
            setTimeout(again, 20);
        })();
    });
}
