// A headless browser: Chromium by its DevTools, or Firefox by WebDriver BiDi. Reads orders as lines of JSON, one at a
// time, and writes a line for each that is done. The first names the browser's program and its flags beside ours; for
// Firefox its settings and its profile, in which what pages store stays.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { launch } from "puppeteer-core";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { program, flags, firefox } = JSON.parse((await lines.next()).value);
const chromium = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio", "--hide-scrollbars"];
const browser = await launch({
    executablePath: program,
    headless: true,
    ...(firefox
        ? { browser: "firefox", extraPrefsFirefox: firefox.settings, userDataDir: firefox.profile, args: flags }
        : { args: [...chromium, ...flags] }),
});
const tabs = new Map();
tell({ done: "ready", version: await browser.version(), pid: browser.process().pid });
for await (const line of lines) {
    const { order, tab, ...told } = JSON.parse(line);
    try {
        const value = await orders()[order](tab, told);
        tell({ done: order, value: value ?? null });
    } catch (error) {
        tell({ done: order, error: String(error?.stack ?? error) });
    }
}
await browser.close();

function orders() {
    const page = (tab) => tabs.get(tab).page;
    return {
        // Opens a tab of its own kind. `scripts`: whether pages may run scripts; `beside`: a tab whose storage it shares;
        // `gives`: the permissions that an origin's pages have; they are refused all others.
        async open(tab, { width, height, touch, scheme, scripts, beside, gives }) {
            if (firefox) return openInFirefox(tab, { width, height });
            const context = beside ? page(beside).browserContext() : await browser.createBrowserContext();
            for (const [origin, names] of Object.entries(gives ?? {})) await context.overridePermissions(origin, names);
            const opened = await context.newPage();
            const faults = [];
            opened.on("console", (said) => {
                if (["error", "warn"].includes(said.type())) faults.push(`${said.type()}: ${said.text()} ${said.location().url ?? ""}`);
            });
            opened.on("pageerror", (error) => faults.push(`uncaught: ${error}`));
            opened.on("requestfailed", (request) => {
                const reason = request.failure()?.errorText ?? "";
                const wanted = scripts || request.resourceType() !== "script"; // else it is not even asked for
                if (wanted && reason !== "net::ERR_ABORTED") faults.push(`${request.url()}: ${reason}`);
            });
            opened.on("dialog", (dialog) => dialog.accept()); // a page that would not be left
            await opened.setViewport({ width, height, isMobile: touch, hasTouch: touch });
            await opened.emulateMediaFeatures([
                { name: "prefers-color-scheme", value: scheme },
                { name: "prefers-reduced-motion", value: "reduce" },
            ]);
            await opened.setJavaScriptEnabled(scripts);
            tabs.set(tab, { page: opened, faults });
        },
        // Has a script run on each page of a tab before the page's own.
        async prepare(tab, { script }) {
            await page(tab).evaluateOnNewDocument(script);
        },
        async visit(tab, { address }) {
            tabs.get(tab).faults.length = 0;
            const answer = await page(tab).goto(address, { waitUntil: "load", timeout: 30000 });
            await page(tab).evaluate(() => document.fonts.ready.then(() => null));
            return answer.status();
        },
        // What was wrong on the page since it was opened: messages in the console, breaches of its policy, failed loads.
        async faults(tab) {
            return tabs.get(tab).faults.splice(0);
        },
        async axe(tab) {
            await page(tab).mainFrame().evaluate(axe); // past the page's policy, as DevTools does
            const { violations } = await page(tab).evaluate(() => {
                // A colour half-way between two is not what is judged: what moves is brought to its end.
                for (const motion of document.getAnimations()) if (motion instanceof CSSTransition) motion.finish();
                return globalThis.axe.run();
            });
            return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html.slice(0, 200)} ${node.failureSummary.slice(0, 300)}`));
        },
        async evaluate(tab, { expression }) {
            return page(tab).evaluate(expression);
        },
        async wait(tab, { expression, within }) {
            await page(tab).waitForFunction(expression, { timeout: within, polling: 100 });
        },
        async press(tab, { key }) {
            await page(tab).keyboard.press(key);
        },
        // A click of the mouse, as a person makes it.
        async click(tab, { selector }) {
            await page(tab).locator(selector).click();
        },
        // The nth click in a row at a place, as a double click makes the second.
        async clickAt(tab, { x, y, nth }) {
            const { mouse } = page(tab);
            await mouse.move(x, y);
            await mouse.down({ clickCount: nth });
            await mouse.up({ clickCount: nth });
        },
        async type(tab, { text }) {
            await page(tab).keyboard.type(text);
        },
        async choose(tab, { selector, path }) {
            await (await page(tab).$(selector)).uploadFile(path);
        },
        async reload(tab) {
            await page(tab).reload({ waitUntil: "load", timeout: 30000 });
        },
        async network(tab, { there }) {
            await page(tab).setOfflineMode(!there);
        },
        async front(tab) {
            await page(tab).bringToFront();
        },
        async picture(tab, { path, full }) {
            await page(tab).screenshot({ path, fullPage: full });
        },
        // Closes a tab, and what it stored when no other shares that. The page is not asked: it dies.
        async close(tab) {
            const { page } = tabs.get(tab);
            tabs.delete(tab);
            const context = page.browserContext();
            await page.close();
            if (!firefox && (await context.pages()).length === 0) await context.close();
        },
    };
}

// All tabs share one storage, that of the profile. Of what could not be loaded the page itself tells.
async function openInFirefox(tab, { width, height }) {
    const opened = await browser.newPage();
    const faults = [];
    opened.on("console", (said) => {
        if (["error", "warn"].includes(said.type())) faults.push(`${said.type()}: ${said.text()} ${said.location()?.url ?? ""}`);
    });
    opened.on("pageerror", (error) => faults.push(`uncaught: ${error}`));
    opened.on("dialog", (dialog) => dialog.accept());
    await opened.setViewport({ width, height });
    tabs.set(tab, { page: opened, faults });
}

function tell(what) {
    process.stdout.write(`${JSON.stringify(what)}\n`);
}
