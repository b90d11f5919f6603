// The sound that the server does not have yet, and what this browser knows of the broadcast, in IndexedDB: they outlive
// a reload and a crash. A browser may forbid that, and its storage may be full: then the rest is kept in memory.

const DATABASE = "aircheck-studio";

export async function openStore(studio) {
  try {
    return new Store(studio, await opened());
  } catch {
    return new Store(studio, null);
  }
}

function opened() {
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

  // The parts of a slice, in their order.
  async parts(number) {
    const kept = (await this.#read("parts", (store) => store.getAll(this.#range(number, number)))) ?? [];
    return [...kept, ...(this.memory.get(number) ?? [])].sort((one, other) => one.part - other.part);
  }

  // All parts, without their sound, in their order: what is there when the page is opened.
  async waiting() {
    const kept = (await this.#read("parts", (store) => store.getAll(this.#range(0, Infinity)))) ?? [];
    return kept.map(({ number, part, ms, ends }) => ({ number, part, ms, ends }));
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

  #range(first, last) {
    return IDBKeyRange.bound([this.studio, first], [this.studio, last, []]);
  }

  async #read(name, ask) {
    if (!this.database) return undefined;
    try {
      return await answered(ask(this.database.transaction(name).objectStore(name)));
    } catch {
      return undefined;
    }
  }

  // Write in one transaction; return whether it is written.
  async #write(change) {
    if (!this.database) return false;
    try {
      const transaction = this.database.transaction(["studios", "parts"], "readwrite");
      const done = new Promise((resolve, reject) => {
        transaction.oncomplete = resolve;
        transaction.onabort = () => reject(transaction.error);
        transaction.onerror = () => reject(transaction.error);
      });
      change(transaction.objectStore("studios"), transaction.objectStore("parts"));
      await done;
      if (this.trouble === "full" && !this.memory.size) this.trouble = null;
      return true;
    } catch (error) {
      this.trouble = error?.name === "QuotaExceededError" ? "full" : (this.trouble ?? "refused");
      return false;
    }
  }
}
