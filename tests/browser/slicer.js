// Makes slices of a recorder's file, as the studio's page does. Arguments: the folder of the modules, the kind, the file,
// the bytes that come at once, the folder for the slices. Writes a line of JSON: the parts, and what could not be read.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, kind, source, step, folder] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(join(modules, name)));
const { repacking } = await load("studio-sound-repacking.js");
const { closeTake } = await load("studio-sound-closing.js");

const bytes = new Uint8Array(await readFile(source));
const parts = [];
let error = null;
try {
    const repacked = repacking(kind, (part) => parts.push(part));
    for (let at = 0; at < bytes.length; at += Number(step)) repacked.push(bytes.subarray(at, at + Number(step)));
    repacked.end();
} catch (failure) {
    if (failure.constructor.name !== "Unreadable") throw failure;
    error = failure.message;
}
const slices = grouped();
for (const [slice, of] of slices) await writeFile(join(folder, String(slice)), Buffer.concat(of.map((part) => part.bytes)));
// Each slice as a killed page would have left it, after its first half.
for (const [slice, of] of slices) {
    const half = of.slice(0, Math.ceil(of.length / 2)).map((part) => part.bytes);
    await writeFile(join(folder, `${slice}-killed`), closeTake(half, { ends: true }));
}
const told = parts.map(({ bytes: { length }, ...part }) => ({ ...part, size: length }));
process.stdout.write(`${JSON.stringify({ parts: told, error })}\n`);

function grouped() {
    const groups = new Map();
    for (const part of parts) groups.set(part.slice, [...(groups.get(part.slice) ?? []), part]);
    return groups;
}
