// A client that shows Element Call itself as its widget, in a frame, as Element Web does. `orders` is what a test can
// have it do.
import { ClientWidgetApi, OpenIDRequestState, Widget, WidgetDriver } from "matrix-widget-api";
import { startClient, until } from "./client.js";

const ID = "element-call";
const [JOIN, HANGUP, MUTE] = ["io.element.join", "im.vector.hangup", "io.element.device_mute"];
const ACTIONS = [JOIN, HANGUP, MUTE, "io.element.close", "set_always_on_screen"];
let client, room, frame, api, encrypts;
let joined = false;

globalThis.orders = {
    async open({ encrypts: encrypting, ...told }) {
        encrypts = encrypting;
        ({ client, room } = await startClient(told));
        return {};
    },
    // Opens Element Call, which joins the room's call without asking.
    async enter({ mode = "compatibility" }) {
        const at = new URL(`/element-call/${mode}/index.html`, location.href);
        const definition = { id: ID, creatorUserId: client.getUserId(), type: "m.call", waitForIframeLoad: false };
        const widget = new Widget({ ...definition, url: String(at) });
        at.hash = `#?${new URLSearchParams({
            widgetId: ID,
            parentUrl: location.href,
            roomId: room.roomId,
            userId: client.getUserId(),
            deviceId: client.getDeviceId(),
            baseUrl: client.baseUrl,
            intent: "join_existing_voice",
            skipLobby: "true",
            perParticipantE2EE: String(encrypts),
        })}`;
        frame = document.createElement("iframe");
        Object.assign(frame, { allow: "microphone; camera; autoplay", width: 780, height: 580 });
        document.body.append(frame);
        api = new ClientWidgetApi(widget, frame, new Driver());
        for (const action of ACTIONS) {
            api.on(`action:${action}`, (event) => {
                event.preventDefault();
                if (action === JOIN) joined = true;
                if (action === HANGUP) joined = false;
                api.transport.reply(event.detail, {});
            });
        }
        api.setViewedRoomId(room.roomId);
        feed();
        frame.src = at;
        await until("having joined", () => joined);
        await until("being listed", () => memberships().some((each) => each.userId === client.getUserId()));
        return {};
    },
    // Waits until Element Call shows a user, and has the sound of all: beside two, each has a tile with a name.
    async meet({ userId }) {
        const { name } = room.getMember(userId);
        await until(`${name} on the screen`, () => shown().includes(name) && !shown().includes("Waiting for media"));
        return { name, shown: shown() };
    },
    async mute({ muted }) {
        await api.transport.send(MUTE, { audio_enabled: !muted, video_enabled: false });
        return {};
    },
    async leave() {
        await api.transport.send(HANGUP, {});
        await until("having left", () => !memberships().some((each) => each.userId === client.getUserId()));
        api.stop();
        frame.remove();
        return {};
    },
    async report() {
        return { shown: shown(), members: memberships().map((each) => each.userId) };
    },
};

function shown() {
    return frame.contentDocument.body.innerText;
}

function memberships() {
    return client.matrixRTC.getRoomSession(room).memberships;
}

// Brings to the widget what the client gets.
function feed() {
    client.on("event", (event) => event.getRoomId() && deliver(event));
    client.on("Event.decrypted", (event) => deliver(event));
    client.on("RoomState.events", (event) => api.feedStateUpdate(raw(event)).catch(complain));
    client.on("receivedToDeviceMessage", ({ message, encryptionInfo }) => {
        api.feedToDevice(message, encryptionInfo !== null).catch(complain);
    });
}

function deliver(event) {
    if (event.isBeingDecrypted() || event.isDecryptionFailure() || event.getType() === "m.room.encrypted") return;
    api.feedEvent(raw(event)).catch(complain);
}

function raw(event) {
    return { ...event.getEffectiveEvent(), room_id: event.getRoomId() };
}

function complain(error) {
    console.error(`widget: ${error?.stack ?? error}`);
}

class Driver extends WidgetDriver {
    async validateCapabilities(requested) {
        return requested;
    }

    async sendEvent(type, content, stateKey = null, roomId = null) {
        const where = roomId ?? room.roomId;
        const { event_id: eventId } =
            stateKey === null
                ? await client.sendEvent(where, type, content)
                : await client.sendStateEvent(where, type, content, stateKey);
        return { roomId: where, eventId };
    }

    async sendStickyEvent(duration, type, content, roomId = null) {
        const where = roomId ?? room.roomId;
        const { event_id: eventId } = await client._unstable_sendStickyEvent(where, duration, null, type, content);
        return { roomId: where, eventId };
    }

    async sendDelayedEvent(delay, type, content, stateKey = null, roomId = null) {
        const where = roomId ?? room.roomId;
        const { delay_id: delayId } =
            stateKey === null
                ? await client._unstable_sendDelayedEvent(where, { delay }, null, type, content)
                : await client._unstable_sendDelayedStateEvent(where, { delay }, type, content, stateKey);
        return { roomId: where, delayId };
    }

    async sendDelayedStickyEvent(delay, duration, type, content, roomId = null) {
        const where = roomId ?? room.roomId;
        const told = await client._unstable_sendStickyDelayedEvent(where, duration, { delay }, null, type, content);
        return { roomId: where, delayId: told.delay_id };
    }

    async cancelScheduledDelayedEvent(delayId) {
        await client._unstable_cancelScheduledDelayedEvent(delayId);
    }

    async restartScheduledDelayedEvent(delayId) {
        await client._unstable_restartScheduledDelayedEvent(delayId);
    }

    async sendScheduledDelayedEvent(delayId) {
        await client._unstable_sendScheduledDelayedEvent(delayId);
    }

    async sendToDevice(type, encrypted, contents) {
        if (!encrypted) throw new Error("Element Call encrypts its keys");
        for (const [userId, devices] of Object.entries(contents)) {
            for (const [deviceId, content] of Object.entries(devices)) {
                await client.encryptAndSendToDevice(type, [{ userId, deviceId }], content);
            }
        }
    }

    async readRoomTimeline(roomId, type) {
        const events = client.getRoom(roomId).getLiveTimeline().getEvents();
        return events.filter((each) => each.getType() === type).map(raw);
    }

    async readRoomState(roomId, type, stateKey) {
        const state = client.getRoom(roomId).currentState;
        const events = stateKey === undefined ? state.getStateEvents(type) : [state.getStateEvents(type, stateKey)];
        return events.filter(Boolean).map(raw);
    }

    async readStickyEvents(roomId) {
        return [...client.getRoom(roomId)._unstable_getStickyEvents()].map(raw);
    }

    async askOpenID(observer) {
        observer.update({ state: OpenIDRequestState.Allowed, token: await client.getOpenIdToken() });
    }

    async getRtcTransports() {
        return { rtc_transports: await client._unstable_getRTCTransports() };
    }

    getKnownRooms() {
        return [room.roomId];
    }
}
