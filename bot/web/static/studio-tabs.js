// Only one tab of a browser broadcasts from a studio: the one that holds the lock. Another may ask for it.

export class Tabs {
  // `got`: called once this tab has the lock; `leave`: called when another tab asks, and awaited before it gets it.
  constructor(studio, { got, leave }) {
    Object.assign(this, { name: `aircheck-studio-${studio}`, got, leave });
    this.mine = false;
    this.channel = new BroadcastChannel(this.name);
    this.channel.onmessage = async () => {
      if (!this.mine) return;
      this.mine = false; // it may be asked twice
      await this.leave();
      this.release();
      this.#wait();
    };
  }

  // Take the lock if nobody has it, else wait for it; return whether this tab has it now.
  begin() {
    return new Promise((known) => {
      navigator.locks.request(this.name, { ifAvailable: true }, (lock) => {
        known(lock !== null);
        return lock ? this.#hold(false) : this.#wait();
      });
    });
  }

  // Ask the tab that has it to leave.
  ask() {
    this.channel.postMessage("leave");
  }

  #wait() {
    navigator.locks.request(this.name, () => this.#hold(true)); // not awaited: nobody waits for it
  }

  #hold(waited) {
    this.mine = true;
    this.got(waited);
    return new Promise((release) => {
      this.release = release;
    });
  }
}
