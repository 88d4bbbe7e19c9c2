// What a person thinks of demos, kept or discarded, on its way into the file.

import { api, element, sayFailure } from "./common.js";

const KEYS = { k: "kept", x: "discarded", c: "" };

export class Marks {
  #marks;
  #waiting = {};
  #sending = false;
  #listeners = new Set();

  constructor(file, demos) {
    this.file = file;
    this.version = file.version;
    this.#marks = new Map(demos.map((demo) => [demo.name, demo.mark]));
    /** Says whether what is shown is in the file. */
    this.state = element("span", { className: "faint spread", role: "status" });
  }

  /** Nothing is on its way. */
  get idle() { return !this.#sending && !Object.keys(this.#waiting).length; }

  of(name) { return this.#marks.get(name); }

  count(mark) { return [...this.#marks.values()].filter((each) => each === mark).length; }

  listen(listener) {
    this.#listeners.add(listener);
    listener();
    return () => this.#listeners.delete(listener);
  }

  set(name, mark) {
    if (this.of(name) === mark) return;
    this.#marks.set(name, mark);
    this.#waiting[name] = mark;
    this.#tell();
    this.#send();
  }

  key(event, name) {
    const mark = KEYS[event.key.toLowerCase()];
    if (mark === undefined) return false;
    this.set(name, mark);
    return true;
  }

  /** One request at a time; what is marked meanwhile goes with the next. */
  async #send() {
    if (this.#sending) return;
    this.#sending = true;
    try {
      while (Object.keys(this.#waiting).length) {
        const changes = this.#waiting;
        this.#waiting = {};
        this.state.textContent = "saving ...";
        this.version = (await api(`/api/datasets/${this.file.number}/marks`, { changes, version: this.version })).version;
      }
      this.state.textContent = "marks saved in the file";
    } catch (error) {
      this.state.textContent = "";
      await this.#lookAgain();
      sayFailure(error);
    }
    this.#sending = false;
  }

  /** Show what the file really says. */
  async #lookAgain() {
    this.#waiting = {};
    try {
      const { file, demos } = await api(`/api/datasets/${this.file.number}/demos`);
      this.version = file.version;
      this.#marks = new Map(demos.map((demo) => [demo.name, demo.mark]));
    } catch { /* the failure that led here is said already */ }
    this.#tell();
  }

  #tell() {
    for (const listener of this.#listeners) listener();
  }
}
