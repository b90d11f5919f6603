// Tests of the studio's modules of sound, run by node. AIRCHECK_MODULES names their folder.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

const load = (name) => import(pathToFileURL(join(process.env.AIRCHECK_MODULES, `studio-sound-${name}.js`)));
const { Incoming, Unreadable, ascii, joined } = await load("bytes");
const { CONTINUED, ENDS, NO_GRANULE, Packets, Pages, checksum, flagged, writePage } = await load("ogg");
const { RATE, readHead, samplesOf, silence, writeHead } = await load("opus");
const { OggSlices } = await load("slices");
const { Holes } = await load("holes");
const { WebmReader } = await load("webm");
const { OggReader } = await load("opus-file");
const { Mp4Reader } = await load("mp4");
const { closeM4a } = await load("m4a");
const { closeTake } = await load("closing");
const { repacking } = await load("repacking");

const PACKET = (size, fill = 7) => Uint8Array.of(0xf8, ...Array(size - 1).fill(fill)); // CELT, 20 ms, mono
const HEAD = writeHead(1, 312);
const pagesOf = (bytes) => [...new Pages().push(bytes)];
const packetsOf = (pages) => {
    const packets = new Packets();
    return pages.flatMap((page) => packets.of(page));
};
const taken = (put) => {
    const parts = [];
    put(new OggSlices(HEAD, (part) => parts.push(part), 77));
    return parts;
};

// ---- Ogg

test("the checksum of a page is that of RFC 3533", () => {
    assert.equal(checksum(ascii("123456789")), 0x89a1897f);
    assert.equal(checksum(new Uint8Array(0)), 0);
});

test("packets of any length come back from a page", () => {
    const sizes = [1, 254, 255, 256, 509, 510, 511, 1275, 3825];
    const packets = sizes.map((size) => PACKET(size));
    const bytes = writePage({ flags: 0, granule: 5, serial: 9, number: 3, packets });
    const [page, more] = pagesOf(bytes);
    assert.equal(more, undefined);
    assert.deepEqual(packetsOf([page]), packets);
    assert.deepEqual([page.granule, page.serial, page.number], [5, 9, 3]);
});

test("a packet that goes on over pages comes back whole", () => {
    const body = PACKET(700);
    const first = writePage({ flags: 0, granule: -1, serial: 1, number: 2, packets: [body.subarray(0, 255), body.subarray(255, 510)] });
    const [open] = pagesOf(first);
    open.lacing = Uint8Array.of(255, 255); // as a writer that does not end the packet here
    const [rest] = pagesOf(writePage({ flags: CONTINUED, granule: 960, serial: 1, number: 3, packets: [body.subarray(510), PACKET(3)] }));
    assert.deepEqual(packetsOf([open, rest]), [body, PACKET(3)]);
    assert.deepEqual(packetsOf([rest]), [PACKET(3)]); // its beginning is missing
});

test("pages come in pieces of any size", () => {
    const bytes = joined([0, 1, 2].map((number) => writePage({ flags: 0, granule: number, serial: 1, number, packets: [PACKET(300)] })));
    for (const step of [1, 7, 100, 10_000]) {
        const pages = new Pages();
        const found = [];
        for (let at = 0; at < bytes.length; at += step) found.push(...pages.push(bytes.subarray(at, at + step)));
        assert.deepEqual(found.map(({ number }) => number), [0, 1, 2]);
    }
});

test("a damaged page is refused", () => {
    const bytes = writePage({ flags: 0, granule: 0, serial: 1, number: 0, packets: [PACKET(30)] });
    bytes[40] ^= 1;
    assert.throws(() => pagesOf(bytes), Unreadable);
});

test("a flag is set with its checksum", () => {
    const [page] = pagesOf(flagged(writePage({ flags: 0, granule: 0, serial: 1, number: 0, packets: [] }), ENDS));
    assert.equal(page.flags, ENDS);
});

// ---- Opus

test("packets state their lengths", () => {
    assert.equal(samplesOf(Uint8Array.of(0xf8)), 960);
    assert.equal(samplesOf(Uint8Array.of(0xf9)), 1920);
    assert.equal(samplesOf(Uint8Array.of(0xfb, 3)), 2880);
    assert.equal(samplesOf(Uint8Array.of(0x18)), 2880);
    assert.equal(samplesOf(Uint8Array.of(0xe0)), 120);
    for (const none of [[], [0xfb], [0xfb, 0], [0xfb, 63]]) assert.throws(() => samplesOf(Uint8Array.from(none)), Unreadable);
});

test("silence is as long as it is asked for", () => {
    for (const samples of [0, 120, 960, 5760, 5880, 48_000, 123_480]) {
        const packets = [...silence(samples)];
        assert.equal(packets.map(samplesOf).reduce((sum, each) => sum + each, 0), samples);
    }
});

test("a head is read as it was written", () => {
    assert.deepEqual(readHead(writeHead(2, 3840)), { channels: 2, preSkip: 3840 });
    assert.throws(() => readHead(ascii("OpusTags and so on, and on")), Unreadable);
});

// ---- slices

test("pages and granules run on over slices, and each has the headers", () => {
    const parts = taken((slices) => {
        for (let packet = 0; packet < 700; packet += 1) slices.put(PACKET(150));
        slices.end(300);
    });
    const slices = [...new Set(parts.map(({ slice }) => slice))].map((slice) => joined(parts.filter((part) => part.slice === slice).map(({ bytes }) => bytes)));
    assert.equal(slices.length, 5);
    const pages = slices.map(pagesOf);
    let [number, granule] = [2, 0];
    for (const of of pages) {
        assert.deepEqual(of.slice(0, 2).map((page) => page.number), [0, 1]);
        for (const page of of.slice(2)) {
            assert.equal(page.number, number);
            assert.equal(page.serial, 77);
            granule += 960 * page.lacing.length;
            assert.equal(page.granule, page.flags & ENDS ? granule - 300 : granule);
            number += 1;
        }
    }
    assert.equal(granule, 700 * 960);
    const ended = pages.flat().filter(({ flags }) => flags & ENDS);
    assert.equal(ended.length, 1);
    assert.equal(ended[0], pages.at(-1).at(-1));
    assert.equal(parts.filter(({ ends }) => ends).length, 5);
    assert.deepEqual(parts.map(({ last }) => last).indexOf(true), parts.length - 1);
    const seconds = pages.map((of) => of.slice(2).reduce((sum, page) => sum + page.lacing.length, 0) / 50);
    assert.deepEqual(seconds, [1, 2, 5, 5, 1]);
    assert.ok(parts.every(({ durationMs }) => durationMs <= 300));
});

test("a take that ends where a page is full has packets on its last page", () => {
    const parts = taken((slices) => {
        for (let packet = 0; packet < 50; packet += 1) slices.put(PACKET(99));
        slices.end(17);
    });
    const last = pagesOf(parts.at(-1).bytes).at(-1);
    assert.equal(last.granule, 50 * 960 - 17);
    assert.ok(last.lacing.length > 0);
});

test("a take without a packet is one slice that ends it", () => {
    const [part, more] = taken((slices) => slices.end());
    assert.equal(more, undefined);
    const [, , end] = pagesOf(part.bytes);
    assert.deepEqual([end.granule, end.flags, part.ends, part.last], [NO_GRANULE, ENDS, true, true]);
});

test("large packets do not overflow a page", () => {
    const parts = taken((slices) => {
        for (let packet = 0; packet < 40; packet += 1) slices.put(PACKET(20_000));
        slices.end();
    });
    assert.equal(packetsOf(pagesOf(joined(parts.map(({ bytes }) => bytes))).filter(({ number }) => number > 1)).length, 40);
});

test("what a killed page left is a slice, whose end is marked if that is asked", () => {
    const parts = taken((slices) => {
        for (let packet = 0; packet < 45; packet += 1) slices.put(PACKET(99));
    }).map(({ bytes }) => bytes);
    const torn = parts.at(-1).subarray(0, 50);
    for (const ends of [false, true]) {
        const pages = pagesOf(closeTake([...parts.slice(0, -1), torn], { ends }));
        assert.equal(pages.length, parts.length + 1);
        assert.equal(pages.at(-1).flags, ends ? ENDS : 0);
    }
    assert.equal(closeTake([]).length, 0);
});

// ---- holes

test("a hole is found once, and bursts and drift are none", () => {
    const holes = new Holes();
    const found = [];
    let clock = 5_000_000;
    for (let count = 0; count < 100 * RATE; count += 960) {
        if (count === 30 * RATE) clock += 4 * RATE;
        const late = count % (7 * RATE) === 0 ? 0.2 * RATE : 0;
        const hole = holes.before(clock + late, count);
        if (hole) found.push(hole);
        holes.fill(hole);
        clock += 960 * 1.0002;
    }
    assert.equal(found.length, 1);
    assert.ok(Math.abs(found[0] - 4 * RATE) < 0.03 * RATE, String(found[0]));
});

test("many short holes are found together", () => {
    const holes = new Holes();
    let [clock, filled] = [0, 0];
    for (let count = 0; count < 100 * RATE; count += 960) {
        if (count && count % RATE === 0) clock += 0.1 * RATE;
        const hole = holes.before(clock, count);
        filled += hole;
        holes.fill(hole);
        clock += 960;
    }
    assert.ok(filled > 9 * RATE && filled < 10 * RATE, String(filled));
});

// ---- WebM

const id = (value) => {
    const bytes = [];
    for (let rest = value; rest; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
    return Uint8Array.from(bytes);
};
const sized = (size) => Uint8Array.of(0x40 | (size >> 8), size & 0xff);
const UNKNOWN = Uint8Array.of(0x01, 255, 255, 255, 255, 255, 255, 255);
const element = (name, ...content) => joined([id(name), sized(joined(content).length), ...content]);
const unknown = (name, ...content) => joined([id(name), UNKNOWN, ...content]);
const track = (number, codec, head) => element(0xae, element(0xd7, Uint8Array.of(number)), element(0x86, ascii(codec)), element(0x63a2, head));
const block = (flags, at, ...content) => element(0xa3, Uint8Array.of(0x81, at >> 8, at & 0xff, flags), ...content);
const webm = (...clusters) => joined([
    element(0x1a45dfa3, element(0x4282, ascii("webm"))),
    unknown(0x18538067, element(0x1549a966, element(0x2ad7b1, id(1_000_000))), element(0x1654ae6b, track(1, "A_OPUS", HEAD)), ...clusters),
]);
const cluster = (time, ...content) => unknown(0x1f43b675, element(0xe7, id(time)), ...content);
const read = (Reader, bytes, step = bytes.length) => {
    const found = { heads: [], packets: [], clocks: [], trims: [] };
    const reader = new Reader({
        onHead: (head) => found.heads.push(head),
        onPacket: (packet, clock) => {
            found.packets.push(packet);
            found.clocks.push(clock);
        },
        onTrim: (samples) => found.trims.push(samples),
    });
    for (let at = 0; at < bytes.length; at += step) reader.push(bytes.subarray(at, at + step));
    reader.end();
    return found;
};

test("clusters of unknown size are read, in pieces of any size", () => {
    const bytes = webm(cluster(1, block(0, 0, PACKET(20)), block(0, 20, PACKET(30))), element(0xec, new Uint8Array(90)), cluster(41, block(0, 0, PACKET(40))));
    for (const step of [1, 3, 64, bytes.length]) {
        const found = read(WebmReader, bytes, step);
        assert.deepEqual(found.heads, [HEAD]);
        assert.deepEqual(found.packets, [PACKET(20), PACKET(30), PACKET(40)]);
        assert.deepEqual(found.clocks, [48, 21 * 48, 41 * 48]);
    }
});

test("laced packets are read in all three ways", () => {
    const packets = [PACKET(300), PACKET(40), PACKET(280)];
    const [a, b, c] = packets;
    const xiph = block(2, 0, Uint8Array.of(2, 255, 45, 40), a, b, c);
    const ebml = block(6, 0, Uint8Array.of(2, 0x41, 0x2c, 0x5e, 0xfb), a, b, c); // 300, then -260
    const fixed = block(4, 0, Uint8Array.of(1), PACKET(50), PACKET(50));
    assert.deepEqual(read(WebmReader, webm(cluster(1, xiph))).packets, packets);
    assert.deepEqual(read(WebmReader, webm(cluster(1, ebml))).packets, packets);
    assert.deepEqual(read(WebmReader, webm(cluster(1, fixed))).packets, [PACKET(50), PACKET(50)]);
    assert.deepEqual(read(WebmReader, webm(cluster(1, xiph))).clocks, [48, null, null]);
});

test("padding at the end is told, and other tracks are left out", () => {
    const group = element(0xa0, element(0xa1, Uint8Array.of(0x81, 0, 0, 0), PACKET(20)), element(0x75a2, id(5_000_000)));
    const other = element(0xa3, Uint8Array.of(0x82, 0, 0, 0), PACKET(9));
    const found = read(WebmReader, webm(cluster(1, other, group)));
    assert.deepEqual([found.packets, found.trims], [[PACKET(20)], [240]]);
});

test("a hole of a recorder becomes silence of its length", () => {
    const parts = [];
    const repacked = repacking("webm", (part) => parts.push(part));
    const blocks = (from) => Array.from({ length: 50 }, (_, index) => cluster(from + 20 * index + 1, block(0, 0, PACKET(50))));
    repacked.push(webm(...blocks(0), ...blocks(4500)));
    repacked.end();
    const pages = pagesOf(joined(parts.map(({ bytes }) => bytes))).filter(({ number }) => number > 1);
    const samples = packetsOf(pages).map(samplesOf).reduce((sum, each) => sum + each, 0);
    assert.ok(Math.abs(samples - 5.5 * RATE) <= 960, String(samples));
    const marked = packetsOf(pages).filter((packet) => packet[0] >> 3 >= 28 && packet[1] & 0x40 && packet[2] === 3);
    const hole = marked.map(samplesOf).reduce((sum, each) => sum + each, 0);
    assert.ok(Math.abs(hole - 3.5 * RATE) <= 960, String(hole));
});

// ---- Ogg of a recorder

test("an Ogg recording is read, with what its last page cuts off", () => {
    const pages = [
        writePage({ flags: 2, granule: 0, serial: 5, number: 0, packets: [HEAD] }),
        writePage({ flags: 0, granule: 0, serial: 5, number: 1, packets: [ascii("OpusTags12345678")] }),
        writePage({ flags: 0, granule: 1920, serial: 5, number: 2, packets: [PACKET(20), PACKET(30)] }),
        writePage({ flags: ENDS, granule: 3500, serial: 5, number: 3, packets: [PACKET(40), PACKET(50)] }),
    ];
    for (const step of [1, 13, 1000]) {
        const found = read(OggReader, joined(pages), step);
        assert.deepEqual(found.packets, [20, 30, 40, 50].map((size) => PACKET(size)));
        assert.deepEqual([found.clocks, found.trims], [[0, null, null, null], [340]]);
    }
});

// ---- hostile bytes

test("no bytes hang a reader or make it throw anything but its own error", () => {
    const samples = {
        webm: webm(cluster(1, block(2, 0, Uint8Array.of(1, 20), PACKET(20), PACKET(30)), block(6, 20, Uint8Array.of(1, 0x9e), PACKET(30), PACKET(3)))),
        ogg: joined([HEAD, ascii("OpusTags12345678"), PACKET(300)].map((packet, number) => writePage({ flags: number ? 0 : 2, granule: 0, serial: 5, number, packets: [packet] }))),
        mp4: MP4(),
    };
    let seed = 1;
    const random = (below) => {
        seed = (seed * 1103515245 + 12345) % 2147483648;
        return Math.floor((seed / 2147483648) * below);
    };
    for (const [kind, bytes] of Object.entries(samples)) {
        for (let round = 0; round < 3000; round += 1) {
            const damaged = bytes.slice(0, round % 3 ? bytes.length : random(bytes.length));
            for (let change = random(6); change >= 0; change -= 1) damaged[random(damaged.length)] = [0, 255, random(256)][random(3)];
            const step = 1 + random(bytes.length);
            try {
                const repacked = repacking(kind, () => {});
                for (let at = 0; at < damaged.length; at += step) repacked.push(damaged.subarray(at, at + step));
                repacked.end();
            } catch (error) {
                assert.ok(error instanceof Unreadable, `${kind} ${round}: ${error.stack}`);
            }
            try {
                closeTake([damaged], { ends: true });
            } catch (error) {
                assert.ok(error instanceof Unreadable, `${kind} ${round}: ${error.stack}`);
            }
        }
    }
});

test("what waits for its end is bounded", () => {
    const incoming = new Incoming();
    assert.throws(() => {
        for (let count = 0; count < 100; count += 1) incoming.push(new Uint8Array(1 << 20));
    }, Unreadable);
    const reader = new WebmReader({});
    assert.throws(() => reader.push(joined([id(0x1f43b675), UNKNOWN, id(0xa3), Uint8Array.of(0x08, 255, 255, 255, 255)])), Unreadable);
});

// ---- MP4

function u32(...values) {
    return joined(values.map((value) => Uint8Array.of((value >> 24) & 255, (value >> 16) & 255, (value >> 8) & 255, value & 255)));
}

function box(kind, ...content) {
    const inside = joined(content);
    return joined([u32(inside.length + 8), ascii(kind), inside]);
}

// A recording of two fragments with two frames each; the second fragment begins `later` units after the first ends.
function MP4(later = 0) {
    const config = Uint8Array.of(3, 0x80, 22, 0, 1, 0, 4, 17, 0x40, 0x15, 0, 0, 0, ...new Uint8Array(8), 5, 2, 0x11, 0x88); // LC, 48 kHz, mono
    const about = [new Uint8Array(8), u32(0, 0), Uint8Array.of(0, 1, 0, 16, 0, 0, 0, 0), u32(48000 * 65536)];
    const entry = box("mp4a", ...about, box("esds", u32(0), config));
    const sound = box("trak", box("tkhd", u32(7, 0, 0, 1, 0, 0)), box("edts", box("elst", u32(0, 1, 0, 1024, 0x10000))), box("mdia", box("mdhd", u32(0, 0, 0, 48000, 0)), box("hdlr", u32(0, 0), ascii("soun")), box("minf", box("stbl", box("stsd", u32(0, 1), entry)))));
    const movie = box("moov", box("mvhd", u32(0)), sound, box("mvex", box("trex", u32(0, 1, 1, 1024, 0, 0))));
    const fragment = (time, frames) => {
        const made = (at) => box("moof", box("mfhd", u32(0, 1)), box("traf", box("tfhd", u32(0x20000, 1)), box("tfdt", u32(0, time)), box("trun", u32(0x201, frames.length, at, ...frames.map(({ length }) => length)))));
        return joined([made(made(0).length + 8), box("mdat", ...frames)]);
    };
    return joined([box("ftyp", ascii("iso5")), movie, fragment(0, [PACKET(10), PACKET(20)]), box("free", new Uint8Array(40)), fragment(2048 + later, [PACKET(30), PACKET(40)])]);
}

test("frames of fragments are read, in pieces of any size", () => {
    for (const step of [1, 17, 10_000]) {
        const [bytes, found] = [MP4(), []];
        let told;
        const reader = new Mp4Reader({ onTrack: (track) => (told = track), onFrame: (...frame) => found.push(frame) });
        for (let at = 0; at < bytes.length; at += step) reader.push(bytes.subarray(at, at + step));
        reader.end();
        assert.deepEqual([told.scale, told.cut, told.codec, [...told.config]], [48000, 1024, "mp4a", [0x11, 0x88]]);
        assert.deepEqual(found, [[PACKET(10), 1024, 0], [PACKET(20), 1024, null], [PACKET(30), 1024, 2048], [PACKET(40), 1024, null]]);
    }
});

test("a hole between fragments becomes silent frames", () => {
    const parts = [];
    const repacked = repacking("mp4", (part) => parts.push(part));
    repacked.push(MP4(96_000));
    repacked.end();
    const ms = parts.reduce((sum, { durationMs }) => sum + durationMs, 0);
    assert.ok(Math.abs(ms - 2000 - (4 * 1024) / 48) < 22, String(ms));
});

test("a recording that is not fragmented is refused before its end", () => {
    const reader = new Mp4Reader({ onTrack: () => {}, onFrame: () => {} });
    assert.throws(() => reader.push(joined([box("ftyp", ascii("isom")), u32(1 << 24), ascii("mdat"), new Uint8Array(9)])), Unreadable);
});

test("a whole slice of M4A stays as it is, and one that was killed gets its tables", () => {
    const parts = [];
    const repacked = repacking("mp4", ({ bytes }) => parts.push(bytes));
    repacked.push(MP4());
    repacked.end();
    const whole = joined(parts);
    assert.deepEqual(closeM4a(parts), whole);
    const at = Buffer.from(whole).indexOf("moov") - 4;
    assert.deepEqual(closeM4a([whole.subarray(0, at)]), whole);
    assert.deepEqual(closeM4a([whole.subarray(0, at + 20)]), whole);
});
