// A member of a group call of MSC3401, with matrix-js-sdk in a browser. `orders` is what a test can have it do.
import * as sdk from "matrix-js-sdk";

const WAIT_MS = 60_000;
let client, room, call;

globalThis.orders = {
    async open({ homeserver, userId, token, deviceId, roomId, encrypts }) {
        if (encrypts) await loadOlm();
        client = sdk.createClient({
            baseUrl: homeserver,
            userId,
            accessToken: token,
            deviceId,
            useE2eForGroupCall: encrypts,
            isVoipWithNoMediaAllowed: true,
        });
        if (encrypts) {
            await (client.initLegacyCrypto ?? client.initCrypto).call(client);
            client.setGlobalErrorOnUnknownDevices?.(false);
        }
        await client.startClient({ initialSyncLimit: 10 });
        room = await until("the room", () => client.getRoom(roomId));
        await client.waitUntilRoomReadyForGroupCalls(roomId);
        return {};
    },
    // Enters the room's call; makes one if there is none.
    async enter({ video = false, pushToTalk = false }) {
        const type = video ? sdk.GroupCallType.Video : sdk.GroupCallType.Voice;
        call =
            client.getGroupCallForRoom(room.roomId) ??
            (await client.createGroupCall(room.roomId, type, pushToTalk, sdk.GroupCallIntent.Prompt));
        await call.enter();
        return { callId: call.groupCallId };
    },
    // Waits until this user is connected to it.
    async meet({ userId }) {
        await until(userId, () => states(userId).includes("connected"));
        return {};
    },
    async mute({ muted }) {
        await call.setMicrophoneMuted(muted);
        return {};
    },
    async leave() {
        call.leave();
        const members = () => room.currentState.getStateEvents("org.matrix.msc3401.call.member", client.getUserId());
        await until("leaving", () => !members()?.getContent()["m.calls"]?.some((each) => each["m.devices"].length));
        return {};
    },
    async terminate() {
        await call.terminate();
        return {};
    },
    // The display of the call: users whose devices are in it.
    async members() {
        return { members: [...call.participants].map(([member, devices]) => [member.userId, devices.size]) };
    },
};

function states(userId) {
    const devices = [...(call.calls ?? new Map())].find(([user]) => (user.userId ?? user) === userId)?.[1];
    return [...(devices?.values() ?? [])].map((each) => each.state);
}

async function loadOlm() {
    await new Promise((loaded, failed) => {
        const script = Object.assign(document.createElement("script"), { src: "olm.js" });
        Object.assign(script, { onload: loaded, onerror: failed });
        document.head.append(script);
    });
    await globalThis.Olm.init({ locateFile: () => "/olm.wasm" });
}

// Looks again whenever the browser is idle for a moment: the library's events differ from version to version.
function until(what, look) {
    const deadline = Date.now() + WAIT_MS;
    return new Promise((found, failed) => {
        (function again() {
            const there = look();
            if (there) return found(there);
            if (Date.now() > deadline) return failed(new Error(`no ${what}`));
            setTimeout(again, 50);
        })();
    });
}
