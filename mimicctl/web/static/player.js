// A demo's time: which step is shown, and playing. Whoever shows something listens.

export class Player {
  #listeners = new Set();
  #playing = false;

  /** Steps 0 to length - 1, at `hz` steps a second. */
  constructor(length, hz) {
    this.length = length;
    this.hz = hz || 20;
    this.speed = 1;
    this.step = 0;
  }

  get playing() { return this.#playing; }

  /** Called with the player now and at every change. Returns what ends it. */
  listen(listener) {
    this.#listeners.add(listener);
    listener(this);
    return () => this.#listeners.delete(listener);
  }

  seek(step) {
    this.step = Math.min(Math.max(Math.round(step), 0), Math.max(this.length - 1, 0));
    this.#tell();
  }

  /** So many steps on, or back; playing stops. */
  move(steps) {
    this.pause();
    this.seek(this.step + steps);
  }

  play() {
    if (this.#playing) return;
    if (this.step >= this.length - 1) this.seek(0);
    this.#playing = true;
    let before = performance.now();
    let due = this.step;
    const tick = (now) => {
      if (!this.#playing) return;
      if (Math.round(due) !== this.step) due = this.step; // somebody has scrubbed
      due += ((now - before) / 1000) * this.hz * this.speed;
      before = now;
      if (Math.round(due) !== this.step) this.seek(due);
      due = Math.max(Math.min(due, this.length - 1), 0);
      if (this.step >= this.length - 1) this.pause();
      else requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
    this.#tell();
  }

  pause() {
    if (!this.#playing) return;
    this.#playing = false;
    this.#tell();
  }

  toggle() {
    if (this.#playing) this.pause();
    else this.play();
  }

  #tell() {
    for (const listener of this.#listeners) listener(this);
  }
}
