// A member of a MatrixRTC call, with matrix-js-sdk and livekit-client in a browser, put together as Element Call does.
// `orders` is what a test can have it do.
import { AudioPresets, BaseKeyProvider, Room, RoomEvent } from "livekit-client";
import { startClient, until } from "./client.js";

const connections = new Map(); // by the address of the SFU's token service: { media, errors }
const sent = []; // what went to the homeserver and to token services, oldest first
const received = []; // keys, as they came from other devices
const synced = []; // events of members, as they came with a sync
const IN_CLEAR = ["encryptAndSendToDevice", "_unstable_sendStickyEvent", "_unstable_sendStickyDelayedEvent"];
let client, where, room, session, member, own, joined, keys, encrypts;
let inUse; // index of the key that this member encrypts with
let reconciling = Promise.resolve();

class MatrixKeys extends BaseKeyProvider {
    constructor() {
        super({ ratchetWindowSize: 10, keyringSize: 256 });
    }

    async take(key, index, identity) {
        const material = await crypto.subtle.importKey("raw", key, "HKDF", false, ["deriveBits", "deriveKey"]);
        this.onSetEncryptionKey(material, identity, index);
    }
}

globalThis.orders = {
    async open({ encrypts: encrypting, ...told }) {
        encrypts = encrypting;
        where = told.roomId;
        ({ client, room } = await startClient(told, listening));
        for (const name of IN_CLEAR) {
            const send = client[name].bind(client);
            client[name] = (...what) => {
                sent.push({ call: name, told: what });
                return send(...what);
            };
        }
        client.on("toDeviceEvent", (event) => {
            if (event.getType() === "io.element.call.encryption_keys") received.push(event.getContent());
        });
        return {};
    },
    // Joins the room's call in a mode of Element Call: `legacy`, `compatibility` or `matrix_2_0`.
    async enter({ mode = "compatibility", config = {}, raw = false }) {
        const [{ livekit_service_url: focus }] = await client._unstable_getRTCTransports();
        session = client.matrixRTC.getRoomSession(room);
        await session.initialMembershipCalculated;
        const [userId, deviceId] = [client.getUserId(), client.getDeviceId()];
        member = { userId, deviceId, memberId: crypto.randomUUID() };
        joined = { mode };
        keys = new MatrixKeys();
        const oldest = session.getOldestMembership();
        own = (mode === "legacy" && oldest?.getTransport(oldest)?.livekit_service_url) || focus;
        session.on("encryption_key_changed", onKey);
        session.on("memberships_changed", follow);
        const transport = { type: "livekit", livekit_service_url: own };
        if (mode !== "matrix_2_0") transport.livekit_alias = room.roomId;
        session.joinRTCSession(member, mode === "legacy" ? [transport] : [], mode === "legacy" ? undefined : transport, {
            callIntent: "audio",
            manageMediaKeys: encrypts,
            unstableSendStickyEvents: mode === "matrix_2_0",
            delayedLeaveEventDelayMs: 18_000,
            delayedLeaveEventRestartMs: 4_000,
            ...config,
        });
        reconciling = reconciling.then(() => connect(own)); // before any other, and once
        await reconciling;
        const { media } = connections.get(own);
        if (encrypts) await media.setE2EEEnabled(true);
        const processing = !raw;
        await media.localParticipant.setMicrophoneEnabled(true, {
            echoCancellation: processing,
            noiseSuppression: processing,
            autoGainControl: processing,
        });
        await until("being listed", () => session.memberships.some(isMine));
        follow();
        return { identity: media.localParticipant.identity };
    },
    // Waits until a user is a member of the call, and connected to an SFU.
    async meet({ userId }) {
        await until(userId, () => participantsOf(userId).length);
        return { name: room.getMember(userId).name, participants: participantsOf(userId).map(described) };
    },
    // Waits until no other member is in the call.
    async alone() {
        await until("being alone", () => session.memberships.every(isMine));
        return {};
    },
    // Listens to a user for so long, and returns that as a WebM file.
    async hear({ userId, ms }) {
        const track = await until(`the sound of ${userId}`, () => soundOf(userId));
        const recorder = new MediaRecorder(new MediaStream([track.mediaStreamTrack]), { mimeType: "audio/webm" });
        const parts = [];
        recorder.ondataavailable = ({ data }) => parts.push(data);
        recorder.start();
        setTimeout(() => recorder.stop(), ms);
        await new Promise((stopped) => (recorder.onstop = stopped));
        return { sound: await base64(new Blob(parts)) };
    },
    async mute({ muted }) {
        await connections.get(own).media.localParticipant.setMicrophoneEnabled(!muted);
        return {};
    },
    // Says what the call is meant to be, as Element Call does when a camera is switched on: the member event is renewed.
    async intend({ intent }) {
        await session.updateCallIntent(intent);
        await until("a renewed member event", () => session.memberships.find(isMine)?.callIntent === intent);
        return {};
    },
    // Makes a new key and gives it to all, as the library does when somebody has left.
    async rotate() {
        const manager = session.encryptionManager;
        manager.outboundSession.sharedWith.push({ userId: "@left:example.org", deviceId: "LEFT", membershipTs: 0 });
        manager.onMembershipsUpdate();
        const { keyId } = await until("a new key", () => manager.outboundSession.keyId !== inUse && manager.outboundSession);
        await until("a new key in use", () => inUse === keyId);
        return { index: keyId };
    },
    async leave() {
        session.off("memberships_changed", follow);
        await reconciling;
        await session.leaveRoomSession(10_000);
        session.off("encryption_key_changed", onKey);
        for (const url of [...connections.keys()]) await disconnect(url);
        joined = undefined;
        return {};
    },
    // Tells whom this member sees, and what it sent and received so far.
    async report() {
        const members = client.matrixRTC.getRoomSession(room).memberships.map((each) => ({
            userId: each.userId,
            deviceId: each.deviceId,
            memberId: each.memberId,
            identity: each.rtcBackendIdentity,
            name: room.getMember(each.userId)?.name,
            participants: [...connections.values()].flatMap(({ media }) => {
                const found = media.remoteParticipants.get(each.rtcBackendIdentity);
                return found ? [described(found)] : [];
            }),
        }));
        const errors = [...connections.values()].flatMap((each) => each.errors);
        const sticky = [...room._unstable_getStickyEvents()].map((each) => each.getEffectiveEvent());
        return { deviceId: client.getDeviceId(), members, errors, sent, received, synced, sticky };
    },
};

function isMine({ userId, deviceId }) {
    return userId === member.userId && deviceId === member.deviceId;
}

async function onKey(key, index, { userId, deviceId }, identity) {
    await keys.take(key, index, identity);
    if (isMine({ userId, deviceId })) inUse = index;
}

// Connects to each SFU that a member publishes on, and to no other.
function follow() {
    reconciling = reconciling
        .then(async () => {
            const oldest = session.getOldestMembership();
            const needed = session.memberships.map((each) => each.getTransport(oldest)?.livekit_service_url);
            for (const url of new Set(needed)) if (url && !connections.has(url)) await connect(url);
            for (const url of [...connections.keys()]) if (url !== own && !needed.includes(url)) await disconnect(url);
        })
        .catch((error) => console.error(`connections: ${error}`));
}

async function connect(url) {
    const granted = await token(url);
    const media = new Room({
        adaptiveStream: true,
        dynacast: true,
        publishDefaults: { audioPreset: AudioPresets.music, dtx: true, red: false, stopMicTrackOnMute: false },
        ...(encrypts && { e2ee: { keyProvider: keys, worker: new Worker("/e2ee.js") } }), // a worker for each room
    });
    const errors = [];
    media.on(RoomEvent.EncryptionError, (error, participant) => {
        errors.push({ identity: participant?.identity, error: String(error) });
    });
    media.on(RoomEvent.TrackSubscribed, (track) => track.attach());
    media.on(RoomEvent.TrackUnsubscribed, (track) => track.detach());
    connections.set(url, { media, errors });
    await media.connect(granted.url, granted.jwt, { maxRetries: 3, peerConnectionTimeout: 30_000 });
}

async function disconnect(url) {
    const { media } = connections.get(url);
    connections.delete(url);
    await media.disconnect();
}

// The legacy endpoint for the SFU on which a member of the modes with state events publishes; elsewhere the new one is
// tried first.
async function token(url) {
    const openid_token = await client.getOpenIdToken();
    if (url !== own || joined.mode === "matrix_2_0") {
        const answer = await post(`${url}/get_token`, {
            room_id: room.roomId,
            slot_id: "m.call#ROOM",
            openid_token,
            member: { id: member.memberId, claimed_user_id: member.userId, claimed_device_id: member.deviceId },
        });
        if (answer.ok || url === own) return answer.json();
    }
    const answer = await post(`${url}/sfu/get`, { room: room.roomId, openid_token, device_id: member.deviceId });
    if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
    return answer.json();
}

function noteMembers(sections = {}) {
    for (const [section, { events = [] }] of Object.entries(sections)) {
        for (const event of events) if (isMembership(event)) synced.push({ section, event });
    }
}

function isMembership({ type, msc4354_sticky: sticky }) {
    return type === "org.matrix.msc3401.call.member" || type === "org.matrix.msc4143.rtc.member" || sticky;
}

function post(url, body) {
    const headers = { "content-type": "application/json" };
    return listening(url, { method: "POST", headers, body: JSON.stringify(body) });
}

// Fetches, and remembers the events and requests for tokens that went out.
async function listening(url, options = {}) {
    const answer = await fetch(url, options);
    const { pathname, searchParams } = new URL(url);
    if (pathname.endsWith("/sync") && answer.ok) noteMembers((await answer.clone().json()).rooms?.join?.[where]);
    if (/\/(state|send|delayed_events|get_token|sfu\/get)\b/.test(pathname) && options.body) {
        const told = await answer.clone().json();
        const path = decodeURIComponent(pathname);
        const query = Object.fromEntries(searchParams);
        sent.push({ method: options.method, path, query, body: JSON.parse(options.body), status: answer.status, answer: told });
    }
    return answer;
}

function participantsOf(userId) {
    const identities = session.memberships.filter((each) => each.userId === userId).map((each) => each.rtcBackendIdentity);
    const found = [...connections.values()].map(({ media }) => media.remoteParticipants);
    return found.flatMap((there) => identities.flatMap((identity) => there.get(identity) ?? []));
}

function soundOf(userId) {
    return participantsOf(userId).flatMap((each) => [...each.audioTrackPublications.values()]).find((each) => each.track)
        ?.track;
}

function described(participant) {
    const tracks = [...participant.trackPublications.values()].map((each) => ({
        kind: each.kind,
        source: each.source,
        muted: each.isMuted,
        subscribed: each.isSubscribed,
        encrypted: each.isEncrypted,
    }));
    return { identity: participant.identity, encrypted: participant.isEncrypted, tracks };
}

async function base64(blob) {
    const reader = new FileReader();
    reader.readAsDataURL(blob);
    await new Promise((loaded) => (reader.onload = loaded));
    return reader.result.slice(reader.result.indexOf(",") + 1);
}
