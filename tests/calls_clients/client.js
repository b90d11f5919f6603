// A client of matrix-js-sdk that is in a room and can encrypt, and what it says to its homeserver.
import * as sdk from "matrix-js-sdk";

const WAIT_MS = 60_000;

// Starts a client; `fetchFn` carries its requests. Returns it with the room when others can encrypt to it.
export async function startClient({ homeserver, userId, token, deviceId, roomId }, fetchFn = fetch.bind(globalThis)) {
    let uploaded = false;
    const watching = async (url, options) => {
        const answer = await fetchFn(url, options);
        if (new URL(url).pathname.endsWith("/keys/upload") && answer.ok) uploaded = true;
        return answer;
    };
    const client = sdk.createClient({ baseUrl: homeserver, userId, accessToken: token, deviceId, fetchFn: watching });
    await client.initRustCrypto({ useIndexedDB: false });
    await client.startClient({ initialSyncLimit: 10 });
    const room = await until("the room", () => client.getRoom(roomId));
    await until("keys that others can encrypt to", () => uploaded);
    return { client, room };
}

// Looks again and again: the libraries' events differ from version to version.
export function until(what, look) {
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
