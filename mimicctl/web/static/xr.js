// Hands and controllers in VR and AR: the scene around the operator, who looks the way the robot does, and what their hands do.

import { element } from "./common.js";
import { CanvasTexture, Group, Matrix4, Mesh, MeshBasicMaterial, MeshLambertMaterial, PlaneGeometry, SphereGeometry } from "./vendor/three.min.js";

const TABLE_HEIGHT = 0.8; // m above the floor
// The operator stands to the right of the robot's base: from behind it the arm would hide what it works on.
const BESIDE = 0.5; // m
// The robot's axes (x ahead, y left, z up) in WebXR's (x right, y up, z backwards), and where its base stands.
const PLACE = new Matrix4().set(0, -1, 0, -BESIDE, 0, 0, 1, TABLE_HEIGHT, -1, 0, 0, 0, 0, 0, 0, 1);
const MODES = { "immersive-vr": "Enter VR", "immersive-ar": "Enter AR" };
const PANEL = [640, 250]; // pixels

/** What has to be true for a headset, with what to do where it is not: [ok, text]. */
export async function checklist() {
  const found = [[isSecureContext, isSecureContext ? "secure page" : "not a secure page: start with --lan, and open the https link"]];
  if (!navigator.xr) {
    found.push([false, isSecureContext ? "this browser has no WebXR: open the link in the headset's browser" : "WebXR needs a secure page"]);
    return { found, modes: [] };
  }
  const modes = [];
  for (const mode of Object.keys(MODES)) if (await navigator.xr.isSessionSupported(mode).catch(() => false)) modes.push(mode);
  found.push([modes.length > 0, modes.length ? "a headset is there" : "no headset: open the link in the headset's own browser, or connect one"]);
  return { found, modes };
}

/** Shows the buttons for what is possible here, and runs the sessions. `hands` is what a message says of hands; undefined outside of a session. */
export class Headset {
  constructor(view, link, { buttons, list }) {
    Object.assign(this, { view, link, buttons, list });
    this.hands = undefined;
    this.marks = {};
    this.panel = new Panel();
    this.refresh();
    navigator.xr?.addEventListener?.("devicechange", () => this.refresh());
  }

  async refresh() {
    const { found, modes } = await checklist();
    // A laptop without a headset has nothing to mend.
    const wanted = navigator.xr ? found : found.filter(([ok]) => !ok && /Mobi|Quest|OculusBrowser|Vision/.test(navigator.userAgent));
    this.#say(modes.length || wanted.length ? found : []);
    this.buttons.replaceChildren(...modes.map((mode) => element("button", { onclick: () => this.enter(mode) }, MODES[mode])));
  }

  async enter(mode) {
    let session;
    try {
      session = await navigator.xr.requestSession(mode, { requiredFeatures: ["local-floor"], optionalFeatures: ["hand-tracking"] });
    } catch (error) {
      this.#say([[false, `${mode}: ${error.message}. Allow it in the browser's settings for this page.`]]);
      return;
    }
    const { renderer, scene, stage } = this.view;
    const background = scene.background;
    if (mode === "immersive-ar") scene.background = null;
    renderer.xr.enabled = true;
    renderer.xr.setReferenceSpaceType("local-floor");
    await renderer.xr.setSession(session);
    stage.matrixAutoUpdate = false;
    stage.matrix.copy(PLACE);
    scene.add(this.panel.mesh);
    this.hands = {};
    this.link.byItself = false;
    // Not every browser says what it granted.
    if (session.enabledFeatures && !session.enabledFeatures.includes("hand-tracking")) {
      this.#say([[false, "hand tracking was not granted: allow it in the headset's settings, or use controllers"]]);
    }
    session.addEventListener("end", () => {
      renderer.setAnimationLoop(null);
      renderer.xr.enabled = false;
      this.hands = undefined;
      this.link.byItself = true;
      for (const mark of Object.values(this.marks)) scene.remove(mark.group);
      this.marks = {};
      scene.remove(this.panel.mesh);
      scene.background = background;
      stage.matrix.identity();
      this.refresh();
      this.view.draw();
    });
    // Between the page's own loop and the session's there are calls without a frame.
    renderer.setAnimationLoop((_, frame) => frame && this.#frame(session, frame));
  }

  /** What the panel above the table says. */
  tell(status) {
    this.panel.write(status);
  }

  #frame(session, frame) {
    const { renderer, scene, camera } = this.view;
    const space = renderer.xr.getReferenceSpace();
    const hands = {};
    // While the headset's own menu is in front, the hands belong to that.
    if (session.visibilityState === "visible") {
      for (const source of session.inputSources) {
        const seen = source.handedness in { left: 1, right: 1 } && (source.hand ? handOf(source.hand, frame, space) : controllerOf(source, frame, space));
        if (seen) hands[source.handedness] = seen;
      }
    }
    this.hands = hands;
    this.#draw(hands);
    this.link.send();
    renderer.render(scene, camera);
  }

  #draw(hands) {
    for (const side of ["left", "right"]) {
      const mark = (this.marks[side] ??= new HandMark(this.view.scene));
      mark.show(hands[side]);
    }
  }

  #say(found) {
    this.list.replaceChildren(...found.map(([ok, text]) => element("li", { className: ok ? "good" : "warn" }, `${ok ? "\u2713" : "\u2717"} ${text}`)));
  }
}

const short = (value) => Math.round(value * 1e4) / 1e4;
const xyz = ({ x, y, z }) => [short(x), short(y), short(z)];
const xyzw = ({ x, y, z, w }) => [short(x), short(y), short(z), short(w)];

function handOf(hand, frame, space) {
  const poses = [...hand.values()].map((joint) => frame.getJointPose(joint, space));
  // A hand is seen whole or not at all.
  if (poses.some((pose) => !pose)) return null;
  const wrist = poses[0].transform;
  return { position: xyz(wrist.position), orientation: xyzw(wrist.orientation), joints: poses.map((pose) => xyz(pose.transform.position)), radii: poses.map((pose) => short(pose.radius)) };
}

function controllerOf(source, frame, space) {
  const pose = source.gripSpace && frame.getPose(source.gripSpace, space);
  if (!pose || pose.emulatedPosition) return null;
  return {
    position: xyz(pose.transform.position),
    orientation: xyzw(pose.transform.orientation),
    buttons: [...(source.gamepad?.buttons || [])].map((button) => short(button.value)),
    axes: [...(source.gamepad?.axes || [])].map(short),
  };
}

/** Small spheres where a hand's joints are, or one for a controller. */
class HandMark {
  constructor(scene) {
    this.group = new Group();
    this.ball = new SphereGeometry(0.008, 10, 8);
    this.material = new MeshLambertMaterial({ color: 0x4aa3ff });
    scene.add(this.group);
  }

  show(hand) {
    this.group.visible = Boolean(hand);
    if (!hand) return;
    const places = hand.joints || [hand.position];
    while (this.group.children.length < places.length) this.group.add(new Mesh(this.ball, this.material));
    this.group.children.forEach((ball, i) => {
      ball.visible = i < places.length;
      if (ball.visible) ball.position.set(...places[i]);
    });
  }
}

/** A board behind the table with what the operator has to know. */
class Panel {
  constructor() {
    this.canvas = element("canvas", { width: PANEL[0], height: PANEL[1] });
    this.texture = new CanvasTexture(this.canvas);
    this.mesh = new Mesh(new PlaneGeometry(0.8, (0.8 * PANEL[1]) / PANEL[0]), new MeshBasicMaterial({ map: this.texture }));
    this.mesh.position.set(-BESIDE, TABLE_HEIGHT + 0.65, -1.1);
  }

  write(status) {
    const lines = [`${status.over ? "finished" : status.text}`, `${status.saved}${status.wanted ? ` of ${status.wanted}` : ""} saved   step ${status.steps}`, `success ${status.held} of ${status.needed}   ${status.subtask}`, status.device];
    const context = this.canvas.getContext("2d");
    context.fillStyle = status.phase === "recording" ? "#3a1412" : "#1f2226";
    context.fillRect(0, 0, ...PANEL);
    context.fillStyle = "#f2f2f0";
    lines.forEach((line, i) => {
      context.font = `${i ? "" : "bold "}${i ? 34 : 40}px system-ui, sans-serif`;
      context.fillText(line, 24, 58 + 56 * i, PANEL[0] - 48);
    });
    this.texture.needsUpdate = true;
  }
}
