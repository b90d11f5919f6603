// A device in an MXVC voice channel, as that project's page behaves (which differs from its README): see docs/calls.md.
// `orders` is what a test can have it do.
const REFRESH_MS = 15_000;
const DEAD_MS = 20_000;
const CANDIDATE_MS = 1_000;
const WAIT_MS = 60_000;
const peers = new Map(); // by name: { connection, candidates, timestamp }
let base, room, headers, name, microphone;
let joined = false;
let transaction = 0;

globalThis.orders = {
    async open({ homeserver, token, roomId, device }) {
        base = `${homeserver}/_matrix/client/v3`;
        room = encodeURIComponent(roomId);
        headers = { authorization: `Bearer ${token}` };
        name = device;
        microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
        const filter = { room: { timeline: { limit: 50 } } };
        const first = await call("GET", `sync?filter=${encodeURIComponent(JSON.stringify(filter))}`);
        for (const event of first.rooms.join[roomId].state.events) seen(event);
        listen(first.next_batch, roomId);
        return {};
    },
    // Joins, and offers to every device that is in the channel: those that are in it already wait.
    async enter() {
        joined = true;
        await announce("JOINED");
        setInterval(() => joined && announce("JOINED"), REFRESH_MS);
        for (const [other, peer] of peers) {
            if (other === name || Date.now() - peer.timestamp > DEAD_MS) continue;
            const connection = connect(other);
            await connection.setLocalDescription(await connection.createOffer());
            await send("offer", other, JSON.stringify(connection.localDescription));
        }
        return {};
    },
    async meet({ suffix }) {
        await until(suffix, () =>
            [...peers].some(([other, { connection }]) => other.endsWith(suffix) && connection?.connectionState === "connected"),
        );
        return {};
    },
    // A muted page goes on sending: silence.
    async mute({ muted }) {
        for (const track of microphone.getAudioTracks()) track.enabled = !muted;
        return {};
    },
    async leave() {
        joined = false;
        for (const { connection } of peers.values()) connection?.close();
        await announce("LEFT");
        return {};
    },
};

async function listen(since, roomId) {
    for (;;) {
        const answer = await call("GET", `sync?timeout=20000&since=${encodeURIComponent(since)}`);
        since = answer.next_batch;
        const news = answer.rooms?.join?.[roomId];
        for (const event of [...(news?.state?.events ?? []), ...(news?.timeline?.events ?? [])]) {
            try {
                seen(event);
                if (event.type === "de.mtorials.test.call") await heard(event.content);
            } catch (error) {
                console.error(String(error));
            }
        }
    }
}

function seen({ type, state_key: other, content }) {
    if (type !== "de.mtorials.test.callstate") return;
    if (content.join_state === "JOINED") peers.set(other, { ...peers.get(other), timestamp: content.timestamp });
    else peers.delete(other);
}

async function heard({ rtc_type: what, sender, receiver, body }) {
    if (receiver !== name || !joined) return;
    if (!peers.has(sender)) return console.error(`Peer unknown: ${sender}`);
    if (what === "offer") {
        const connection = connect(sender);
        await connection.setRemoteDescription(JSON.parse(body));
        await connection.setLocalDescription(await connection.createAnswer());
        await send("answer", sender, JSON.stringify(connection.localDescription));
    } else if (what === "answer") {
        await peers.get(sender).connection.setRemoteDescription(JSON.parse(body));
    } else if (what === "icecandidate") {
        await peers.get(sender).connection.addIceCandidate(JSON.parse(body));
    }
}

// Makes a connection to a device. Its candidates are sent one a second, the newest first, until it is connected.
function connect(other) {
    const connection = new RTCPeerConnection();
    const candidates = [];
    for (const track of microphone.getTracks()) connection.addTrack(track, microphone);
    connection.onicecandidate = ({ candidate }) => candidate && candidates.push(candidate);
    const sending = setInterval(() => {
        if (["connected", "closed"].includes(connection.connectionState)) return clearInterval(sending);
        const newest = candidates.pop();
        if (newest) send("icecandidate", other, JSON.stringify(newest));
    }, CANDIDATE_MS);
    peers.set(other, { ...peers.get(other), connection });
    return connection;
}

function announce(state) {
    const content = { join_state: state, timestamp: Date.now() };
    return call("PUT", `rooms/${room}/state/de.mtorials.test.callstate/${encodeURIComponent(name)}`, content);
}

function send(what, receiver, body) {
    const content = { rtc_type: what, sender: name, receiver, body };
    return call("PUT", `rooms/${room}/send/de.mtorials.test.call/${Date.now()}.${transaction++}`, content);
}

async function call(method, path, body) {
    const answer = await fetch(`${base}/${path}`, { method, headers, body: body && JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${method} ${path.slice(0, 80)}: ${answer.status}`);
    return answer.json();
}

// Looks again and again: connections tell no other part of the page about themselves.
function until(what, look) {
    const deadline = Date.now() + WAIT_MS;
    return new Promise((found, failed) => {
        (function again() {
            if (look()) return found();
            if (Date.now() > deadline) return failed(new Error(`no ${what}`));
            setTimeout(again, 50);
        })();
    });
}
