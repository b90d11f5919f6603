// The sound that the server does not have yet, and what this browser knows of the broadcast, in IndexedDB: they outlive
// a reload and a crash. A browser may forbid that, and its storage may be full: then the rest is kept in memory.

const DATABASE = "aircheck-studio";
const STORES = ["studios", "parts"];
const OLD_MS = 3 * 86400000; // nothing is taken from who was away for a day
const WITHIN_MS = 20000;
const CLOSED = ["InvalidStateError", "UnknownError"]; // a browser may close the connection of a page in the background

export async function openStore(studio) {
  const database = await inTime(opened()).catch(() => null);
  const store = new Store(studio, database);
  await store.forgetOthers();
  return store;
}

async function opened() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore("studios", { keyPath: "studio" });
    request.result.createObjectStore("parts", { keyPath: ["studio", "number", "part"] });
  };
  return answered(request);
}

function answered(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("blocked"));
  });
}

// Rejects where a browser never answers, as some Safari does.
function inTime(answer) {
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error("no answer")), WITHIN_MS));
  return Promise.race([answer, late]);
}

export class Store {
  constructor(studio, database) {
    this.studio = studio;
    this.database = database;
    this.trouble = database ? null : "refused"; // or "full"
    this.memory = new Map(); // parts that could not be written, by number
    this.known = null; // the record, where it could not be written
  }

  // What is known of the broadcast: an object, empty at first.
  async record() {
    const kept = await this.#read("studios", (store) => store.get(this.studio));
    return this.known ?? kept ?? { studio: this.studio };
  }

  async save(record) {
    const whole = { ...record, studio: this.studio };
    this.known = (await this.#write((studios) => studios.put(whole))) ? null : whole;
  }

  // Keep a part: { number, part, bytes, ms, ends }.
  async put(part) {
    const whole = { ...part, studio: this.studio };
    if (await this.#write((studios, parts) => parts.put(whole))) return;
    this.memory.set(part.number, [...(this.memory.get(part.number) ?? []), whole]);
  }

  // The parts of a slice, in their order. Rejects where they can't be read.
  async parts(number) {
    const ask = (store) => store.getAll(this.#range(number, number));
    const kept = this.database ? await this.#asked("parts", ask) : [];
    return [...kept, ...(this.memory.get(number) ?? [])].sort((one, other) => one.part - other.part);
  }

  // All parts, without their sound, in their order: what is there when the page is opened.
  async waiting() {
    const keys = (await this.#read("parts", (store) => store.getAllKeys(this.#range(0, Infinity)))) ?? [];
    const found = [];
    for (const number of new Set(keys.map(([, each]) => each))) { // one slice at a time: they may be hours
      const parts = await this.parts(number).catch(() => []);
      found.push(...parts.map(({ part, ms, ends }) => ({ number, part, ms, ends })));
    }
    return found;
  }

  // Put one part in the place of all parts of a slice.
  async replace(number, bytes, ms) {
    const whole = { studio: this.studio, number, part: 0, bytes, ms, ends: true };
    const written = await this.#write((studios, parts) => {
      parts.delete(this.#range(number, number));
      parts.put(whole);
    });
    if (written) this.memory.delete(number);
    else this.memory.set(number, [whole]);
  }

  // A slice need not be kept any longer; `record` says what is known now, in the same transaction.
  async drop(number, record) {
    this.memory.delete(number);
    const whole = { ...record, studio: this.studio };
    const written = await this.#write((studios, parts) => {
      parts.delete(this.#range(number, number));
      studios.put(whole);
    });
    this.known = written ? null : whole;
  }

  // Nothing more is taken: forget the sound.
  async clear() {
    this.memory.clear();
    await this.#write((studios, parts) => parts.delete(this.#range(0, Infinity)));
  }

  // Forget other studios whose pages were not opened for days: nothing of them is taken any more.
  async forgetOthers() {
    const records = (await this.#read("studios", (store) => store.getAll())) ?? [];
    for (const { studio, seenAt = 0, openedAt = 0 } of records) {
      if (studio === this.studio || Math.abs(Date.now() - Math.max(seenAt, openedAt)) < OLD_MS) continue;
      await this.#write((studios, parts) => {
        parts.delete(this.#range(0, Infinity, studio));
        studios.delete(studio);
      });
    }
  }

  #range(first, last, studio = this.studio) {
    return IDBKeyRange.bound([studio, first], [studio, last, []]);
  }

  async #read(name, ask) {
    if (!this.database) return undefined;
    return this.#asked(name, ask).catch(() => undefined);
  }

  #asked(name, ask) {
    return this.#within("readonly", (transaction) => answered(ask(transaction.objectStore(name))));
  }

  // Do something in a transaction: in one of a new connection where the browser has closed this one.
  async #within(mode, work) {
    try {
      return await work(this.database.transaction(STORES, mode));
    } catch (error) {
      if (!CLOSED.includes(error?.name)) throw error;
      this.database = await opened();
      return work(this.database.transaction(STORES, mode));
    }
  }

  // Write in one transaction; return whether it is written.
  async #write(change) {
    if (!this.database) return false;
    try {
      await this.#within("readwrite", (transaction) => {
        const done = new Promise((resolve, reject) => {
          transaction.oncomplete = resolve;
          transaction.onabort = () => reject(transaction.error);
          transaction.onerror = () => reject(transaction.error);
        });
        change(transaction.objectStore("studios"), transaction.objectStore("parts"));
        return done;
      });
      if (this.trouble === "full" && !this.memory.size) this.trouble = null;
      return true;
    } catch (error) {
      this.trouble = error?.name === "QuotaExceededError" ? "full" : (this.trouble ?? "refused");
      return false;
    }
  }
}
