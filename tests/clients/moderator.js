// A moderator whose client is matrix-js-sdk. Reads who and where as one line of JSON, writes a line for each step done.
// It switches replay on, opens the voice message that the bot hands back, deletes the recording with a 👍, and tells
// what it has seen.
import { writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import encryption from "matrix-encrypt-attachment";
import * as sdk from "matrix-js-sdk";
import { logger } from "matrix-js-sdk/lib/logger.js";

const WAIT_MS = 90_000;
const PREFIX = "!aircheck";
const NEWS = [
    sdk.ClientEvent.Room,
    sdk.ClientEvent.Sync,
    sdk.RoomEvent.Timeline,
    sdk.RoomEvent.Redaction,
    sdk.RoomStateEvent.Events,
    sdk.MatrixEventEvent.Decrypted,
    sdk.MatrixEventEvent.Replaced,
];

logger.setLevel("silent");
globalThis.console = new console.Console(process.stderr); // the library's crypto logs; stdout has the steps alone
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { homeserver, user, password, roomId, bot, sound } = JSON.parse((await lines.next()).value);
const client = await logIn();
await client.joinRoom(roomId);
const room = await until("the room", () => client.getRoom(roomId));
await until("the bot", () => room.getMember(bot)?.membership === "join");

const replay = await answerTo(await say("replay on"));
tell({ step: "replay", body: replay.getContent().body });

const voice = await until("the voice message", () => found((_, content) => "org.aircheck.recording" in content));
const handedBack = structuredClone(voice.getContent());
await writeFile(sound, await open(handedBack));
const announcement = await until("the announcement", () => found((_, { body }) => body?.includes("is ready")));
const disclosure = await until("the room's state", () => room.currentState.getStateEvents("org.aircheck.room", ""));
tell({ step: "heard", encrypted: voice.isEncrypted(), voice: handedBack, disclosure: disclosure.getContent() });

const question = await answerTo(await say(`delete ${handedBack["org.aircheck.recording"]}`));
await client.sendEvent(roomId, "m.reaction", {
    "m.relates_to": { rel_type: "m.annotation", event_id: question.getId(), key: "👍" },
});
const answer = await answerTo(question.getId());
await until("the redaction", () => voice.isRedacted());
await until("the edit", () => announcement.replacingEvent()?.getContent()["m.new_content"]);
tell({
    step: "deleted",
    question: question.getContent().body,
    answer: answer.getContent().body,
    announcement: announcement.getContent().body,
    left: voice.getContent(),
});
client.stopClient();
process.exit(0);

// Logs in as a new device with keys in memory, and waits for the first sync.
async function logIn() {
    const login = { type: "m.login.password", identifier: { type: "m.id.user", user }, password };
    const device = await sdk.createClient({ baseUrl: homeserver }).loginRequest(login);
    const made = sdk.createClient({
        baseUrl: homeserver,
        userId: device.user_id,
        deviceId: device.device_id,
        accessToken: device.access_token,
    });
    await made.initRustCrypto({ useIndexedDB: false });
    await made.startClient();
    return made;
}

// Waits until `check` gives something, and gives that; it is asked again whenever something has come.
function until(what, check) {
    return new Promise((resolve, reject) => {
        const end = (settle, value) => {
            clearTimeout(timer);
            NEWS.forEach((event) => client.off(event, look));
            settle(value);
        };
        const timer = setTimeout(() => end(reject, new Error(`waited in vain for ${what}`)), WAIT_MS);
        const look = () => {
            const value = check();
            if (value) end(resolve, value);
        };
        NEWS.forEach((event) => client.on(event, look));
        look();
    });
}

// Gives the newest message of the bot that fits, decrypted.
function found(fits) {
    const ofBot = (event) => event.getSender() === bot && event.getType() === "m.room.message";
    const events = room.getLiveTimeline().getEvents();
    return events.findLast((event) => ofBot(event) && fits(event, event.getContent()));
}

async function say(command) {
    const content = { msgtype: "m.text", body: `${PREFIX} ${command}` };
    return (await client.sendEvent(roomId, "m.room.message", content)).event_id;
}

function answerTo(eventId) {
    return until("an answer", () => found((event) => event.replyEventId === eventId));
}

// Downloads a message's media with the access token and, where they are encrypted, checks and decrypts them.
async function open({ url, file }) {
    const address = client.mxcUrlToHttp(file?.url ?? url, undefined, undefined, undefined, false, true, true);
    const answer = await fetch(address, { headers: { Authorization: `Bearer ${client.getAccessToken()}` } });
    if (!answer.ok) throw new Error(`the media are answered with ${answer.status}`);
    const data = await answer.arrayBuffer();
    return Buffer.from(file ? await encryption.decryptAttachment(data, file) : data);
}

function tell(step) {
    process.stdout.write(`${JSON.stringify(step)}\n`);
}
