// Callers in headless Chromium: each is a browser of its own, whose microphone plays a file. Reads orders as lines of
// JSON, one at a time, and writes a line for each that is done. The first names the page: its bundle is made here.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { launch } from "puppeteer-core";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const callers = new Map();
const { page, sdk, chromium } = JSON.parse((await lines.next()).value);
const script = await bundle();
const server = createServer(answer);
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
tell({ done: "ready" });
for await (const line of lines) {
    const { order, name, ...told } = JSON.parse(line);
    try {
        tell({ done: order, ...(await carryOut(order, name, told)) });
    } catch (error) {
        tell({ done: order, error: String(error?.stack ?? error) });
    }
}
await Promise.all([...callers.values()].map(({ browser }) => browser.close()));
server.close();

async function carryOut(order, name, told) {
    if (order === "open") return open(name, told);
    const { browser, tab } = callers.get(name);
    if (order === "kill") {
        callers.delete(name);
        browser.process().kill("SIGKILL");
        return {};
    }
    return tab.evaluate((what, how) => globalThis.orders[what](how), order, told);
}

// Opens a browser whose microphone plays `sound` once, or again and again.
async function open(name, { sound, again, ...told }) {
    const browser = await launch({
        executablePath: chromium,
        headless: true,
        args: [
            "--no-sandbox",
            "--autoplay-policy=no-user-gesture-required",
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            `--use-file-for-fake-audio-capture=${sound}${again ? "" : "%noloop"}`, // an absolute path, or all is silent
        ],
    });
    const tab = await browser.newPage();
    tab.on("console", (said) => {
        if (["error", "warn"].includes(said.type())) process.stderr.write(`${name}: ${said.text().slice(0, 500)}\n`);
    });
    tab.on("pageerror", (error) => process.stderr.write(`${name}: ${error}\n`));
    callers.set(name, { browser, tab });
    await tab.goto(`http://127.0.0.1:${server.address().port}/`);
    return tab.evaluate((how) => globalThis.orders.open(how), told);
}

async function bundle() {
    const made = await build({
        absWorkingDir: here("."),
        entryPoints: [here(page)],
        bundle: true,
        write: false,
        format: "iife",
        platform: "browser",
        alias: sdk ? { "matrix-js-sdk": sdk } : {},
        define: {
            global: "globalThis",
            "process.env.NODE_ENV": '"production"',
            "import.meta.url": "document.baseURI", // where the Rust cryptography's module is, see `answer`
        },
        loader: { ".wasm": "empty" },
        external: ["fs", "path", "crypto"],
        logLevel: "error",
    });
    return made.outputFiles[0].contents;
}

async function answer(request, response) {
    const files = {
        "/": ["text/html", "<!doctype html><meta charset=utf-8><title>Caller</title><script src=page.js></script>"],
        "/page.js": ["text/javascript", script],
        "/olm.js": ["text/javascript", here("node_modules/@matrix-org/olm/olm.js")],
        "/olm.wasm": ["application/wasm", here("node_modules/@matrix-org/olm/olm.wasm")],
        "/pkg/matrix_sdk_crypto_wasm_bg.wasm": ["application/wasm", rustCrypto()],
        "/e2ee.js": ["text/javascript", here("node_modules/livekit-client/dist/livekit-client.e2ee.worker.js")],
    };
    const [type, content] = files[request.url] ?? elementCall(new URL(request.url, "http://localhost").pathname) ?? [];
    if (!type) return response.writeHead(404).end();
    const isFile = typeof content === "string" && content.startsWith("/");
    response.writeHead(200, { "content-type": type }).end(isFile ? await readFile(content) : content);
}

// Element Call below `/element-call/MODE/`, with the configuration of a server that pins this mode.
function elementCall(path) {
    const [, mode, file] = /^\/element-call\/(\w+)\/([\w./-]+)$/.exec(path) ?? [];
    if (!file || file.includes("..")) return undefined;
    if (file === "config.json") return ["application/json", Buffer.from(JSON.stringify({ matrix_rtc_mode: mode }))];
    const types = { html: "text/html", js: "text/javascript", css: "text/css", wasm: "application/wasm", json: "application/json" };
    const type = types[file.split(".").at(-1)] ?? "application/octet-stream";
    return [type, here(`node_modules/@element-hq/element-call-embedded/dist/${file}`)];
}

// The module that belongs to the matrix-js-sdk of this page: each has another.
function rustCrypto() {
    if (!sdk) return undefined;
    const module = createRequire(here(`node_modules/${sdk}/package.json`)).resolve("@matrix-org/matrix-sdk-crypto-wasm");
    return `${dirname(module)}/pkg/matrix_sdk_crypto_wasm_bg.wasm`;
}

function tell(done) {
    process.stdout.write(`${JSON.stringify(done)}\n`);
}
