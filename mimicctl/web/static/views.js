// What a demo looked like at a step: the scene in 3-D, and the films of its cameras.

import { apiBytes, element } from "./common.js";
import { SceneView } from "./scene.js";

const NUMBERS_A_BODY = 7;
/** [m] A scene of this radius is seen from where the view begins. */
const REACH = 1.2;
/** [m] What is higher up is parked: an instance that the episode has no use for. */
const PARKED = 5;

/** A tile with the scene. It is kept from demo to demo, since a browser has few 3-D contexts to give. */
export class SceneTile {
  constructor(label) {
    this.host = element("div", { className: "scene" });
    this.caption = element("figcaption", {}, label);
    this.node = element("figure", { className: "tile" }, this.host, this.caption);
    this.frames = null;
    try {
      this.view = new SceneView(this.host);
    } catch {
      this.#explain("The 3-D view needs WebGL, which this browser does not have, or has turned off.");
    }
  }

  /** Addresses of the scene's description and of the frames. */
  async load(scene, frames) {
    this.frames = null;
    this.wanted = frames;
    if (!this.view) return;
    this.host.querySelector("p")?.remove();
    try {
      const [shapes, motion] = await Promise.all([this.loaded === scene ? null : apiBytes(scene), apiBytes(frames)]);
      if (this.wanted !== frames) return; // another demo was asked for in the meantime
      if (shapes) this.view.load(shapes);
      this.loaded = scene;
      this.frames = new Float32Array(motion);
      this.size = this.view.bodies.length * NUMBERS_A_BODY;
      if (shapes) this.#stepBack();
      this.show(this.step || 0);
    } catch (error) {
      if (this.wanted === frames) this.#explain([error.message, error.do].filter(Boolean).join(" To do: "));
    }
  }

  show(step) {
    this.step = step;
    if (!this.frames) return;
    const last = this.frames.length / this.size - 1;
    const at = Math.min(step, last) * this.size;
    this.view.show(this.frames.subarray(at, at + this.size));
  }

  /** Far enough away to see wherever something goes; an arm on its table is in sight as it is. */
  #stepBack() {
    const low = [Infinity, Infinity, Infinity];
    const high = [-Infinity, -Infinity, -Infinity];
    for (let body = NUMBERS_A_BODY; body < this.size; body += NUMBERS_A_BODY) { // the first body is the world
      for (let at = body; at < this.frames.length; at += this.size) {
        if (this.frames[at + 2] > PARKED) continue;
        for (let k = 0; k < 3; k++) {
          low[k] = Math.min(low[k], this.frames[at + k]);
          high[k] = Math.max(high[k], this.frames[at + k]);
        }
      }
    }
    const radius = Math.hypot(...low.map((value, k) => high[k] - value)) / 2;
    if (radius < REACH) {
      this.view.lookFrom("side");
      return;
    }
    const middle = low.map((value, k) => (value + high[k]) / 2);
    const { camera, controls } = this.view;
    camera.position.set(middle[0] - 1.2 * radius, middle[1] - 1.5 * radius, middle[2] + 1.6 * radius);
    controls.target.set(...middle);
    controls.update();
  }

  #explain(text) {
    this.host.append(element("p", { className: "faint notice" }, text));
  }
}

/** A tile with the film of a camera, whose images are fetched all at once and decoded when they are shown. */
export class FilmTile {
  constructor(label) {
    this.canvas = element("canvas", { width: 1, height: 1 });
    this.caption = element("figcaption", {}, label);
    this.node = element("figure", { className: "tile film" }, this.canvas, this.caption);
    this.images = [];
    this.stopped = new AbortController();
  }

  async load(address) {
    try {
      const response = await fetch(address, { signal: this.stopped.signal });
      if (!response.ok) throw new Error((await response.json()).error);
      for await (const image of imagesOf(response.body)) {
        this.images.push(image);
        if (this.images.length - 1 === (this.step || 0) || this.images.length === 1) this.show(this.step || 0);
      }
      this.show(this.step || 0);
    } catch (error) {
      if (error.name !== "AbortError") this.caption.append(element("span", { className: "bad" }, ` ${error.message}`));
    }
  }

  async show(step) {
    this.step = step;
    const image = this.images[Math.min(step, this.images.length - 1)];
    if (!image || this.busy) return;
    this.busy = true;
    const picture = await createImageBitmap(image);
    this.busy = false;
    if (this.canvas.width !== picture.width) [this.canvas.width, this.canvas.height] = [picture.width, picture.height];
    this.canvas.getContext("2d").drawImage(picture, 0, 0);
    if (this.step !== step) this.show(this.step); // it went on in the meantime
  }

  close() { this.stopped.abort(); }
}

/** JPEGs of a stream in which each comes after its length in bytes (uint32, little-endian). */
async function* imagesOf(stream) {
  let held = new Uint8Array(0);
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const joined = new Uint8Array(held.length + value.length);
    joined.set(held);
    joined.set(value, held.length);
    let at = 0;
    while (joined.length - at >= 4) {
      const size = new DataView(joined.buffer).getUint32(at, true);
      if (joined.length - at - 4 < size) break;
      yield new Blob([joined.subarray(at + 4, at + 4 + size)], { type: "image/jpeg" });
      at += 4 + size;
    }
    held = joined.slice(at);
  }
}
