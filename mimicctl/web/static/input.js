// Keys with their releases, gamepads, and buttons held by a finger: what the page does now, and how often each was pressed.

/** `keys` are those that mean something; others are left to the browser. `onChange` is called at once when one goes down or up. */
export class Input {
  constructor(keys, letGo, onChange) {
    this.known = new Set(keys);
    this.letGo = letGo;
    this.onChange = onChange;
    this.held = new Map(); // what holds it (a key's code, a finger) to the key
    this.presses = {};
    this.padButtons = [];
    addEventListener("keydown", (event) => this.#down(event));
    addEventListener("keyup", (event) => this.#up(event));
    // The page hears of no release while something else has the keyboard.
    addEventListener("blur", () => this.release());
    document.addEventListener("visibilitychange", () => this.release());
  }

  /** Keys, presses and pad, as a message has them. */
  state() {
    const pad = this.pad();
    return { keys: [...new Set(this.held.values())], presses: this.presses, ...(pad && { pad }) };
  }

  heldKeys() {
    return new Set(this.held.values());
  }

  count(name) {
    this.presses[name] = (this.presses[name] || 0) + 1;
    this.onChange();
  }

  /** A key goes down by something other than the keyboard. */
  press(holder, key) {
    if (this.held.has(holder)) return;
    if (key === this.letGo) this.held.clear();
    else this.held.set(holder, key);
    this.count(`key:${key}`);
  }

  lift(holder) {
    if (this.held.delete(holder)) this.onChange();
  }

  release() {
    if (!this.held.size) return;
    this.held.clear();
    this.onChange();
  }

  /** The first gamepad of the browser, by its standard layout; null without one. Counts new presses. */
  pad() {
    const pad = [...(navigator.getGamepads?.() || [])].find((one) => one?.connected && one.axes.length >= 4);
    if (!pad) return null;
    const buttons = pad.buttons.slice(0, 17).map((button) => button.value);
    buttons.forEach((value, i) => {
      if (value > 0.5 && !(this.padButtons[i] > 0.5)) this.presses[`pad:${i}`] = (this.presses[`pad:${i}`] || 0) + 1;
    });
    this.padButtons = buttons;
    this.padName = pad.mapping === "standard" ? pad.id : `${pad.id} (the browser does not know its layout)`;
    return { axes: pad.axes.slice(0, 4).map((value) => Math.round(1000 * value) / 1000), buttons };
  }

  #down(event) {
    const key = nameOf(event);
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) || !this.known.has(key)) return;
    event.preventDefault();
    // A button of the page that has the focus would be pressed by space and Enter.
    document.activeElement?.blur();
    if (!event.repeat) this.press(event.code, key);
  }

  #up(event) {
    // While Command is held, macOS tells of no other key's release.
    if (event.key === "Meta") this.release();
    this.lift(event.code);
  }
}

const NAMES = { " ": "space", Enter: "enter", Tab: "tab", ArrowUp: "up", ArrowDown: "down", ArrowLeft: "left", ArrowRight: "right" };

/** As a config file names it: the letter that is typed, or, where the layout has none of ours, the one in that place. */
function nameOf(event) {
  if (event.key in NAMES) return NAMES[event.key];
  if (/^[!-~]$/.test(event.key)) return event.key.toLowerCase();
  return event.code.startsWith("Key") ? event.code.slice(3).toLowerCase() : event.key.toLowerCase();
}
