// The line to a teleoperation session: input goes out as state, pictures come in. See the server's inputs.py and teleop.py.

import { api } from "./common.js";

const EVERY_MS = 20;
const MOST_WAITING = 4096; // bytes; beyond it the line is slower than we talk, and older input is worth nothing
const RETRY_MS = 1000;
const REMEMBERED = 256;

/** Keeps itself connected. `input()` gives what the page does now: keys, presses, pad, hands; `onPicture` a promise that is kept
 * when the picture is seen. */
export class Link {
  constructor({ input, onPicture, onStatus, onLost, onFound }) {
    Object.assign(this, { input, onPicture, onStatus, onLost, onFound });
    this.page = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    this.claims = 0;
    this.loopMs = null;
    this.pictures = 0;
    this.skipped = 0;
    this.n = 0;
    this.seen = 0;
    this.sentAt = new Map();
    this.over = false;
    this.byItself = true; // false while something else, a headset's own frames, calls send often enough
    this.timer = setInterval(() => this.byItself && this.send(), EVERY_MS);
    this.#connect();
  }

  /** Ask to be the page that drives. */
  claim() {
    this.claims++;
    this.send();
  }

  /** Say now what the page does. Called many times a second by itself; call it as well when a key changes. */
  send() {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    if (this.socket.bufferedAmount > MOST_WAITING) {
      this.skipped++;
      return;
    }
    this.n++;
    this.sentAt.set(this.n, performance.now());
    if (this.sentAt.size > REMEMBERED) this.sentAt.delete(this.n - REMEMBERED);
    const message = { page: this.page, n: this.n, seen: this.seen, skipped: this.skipped, claims: this.claims, ...this.input() };
    if (this.loopMs !== null) message.loop_ms = this.loopMs;
    this.socket.send(JSON.stringify(message));
  }

  #connect() {
    this.socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/teleop/socket`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = ({ data }) => (typeof data === "string" ? console.warn("refused:", data) : this.#take(data));
    this.socket.onclose = () => {
      // A session that has ended is no lost connection.
      if (this.over) clearInterval(this.timer);
      else this.#retry();
    };
  }

  async #retry() {
    this.onLost();
    await new Promise((done) => setTimeout(done, RETRY_MS));
    try {
      const facts = await api("/api/teleop");
      // It may be another start of the server, whose pictures are counted anew.
      this.seen = 0;
      await this.onFound(facts);
      this.#connect();
    } catch (error) {
      this.onLost(error);
      this.#retry();
    }
  }

  async #take(buffer) {
    const view = new DataView(buffer);
    const [number, used, length] = [view.getUint32(0, true), view.getUint32(4, true), view.getUint32(8, true)];
    if (length) {
      const status = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 12, length)));
      this.over = Boolean(status.over);
      this.onStatus(status);
    }
    await this.onPicture(new Float32Array(buffer, 12 + length));
    this.seen = number;
    this.pictures++;
    const sent = this.sentAt.get(used);
    if (sent !== undefined) this.loopMs = Math.round(10 * (performance.now() - sent)) / 10;
  }
}
