// The page that drives: the scene, what the session does, and the controls.

import { api, apiBytes, element, enter, say, sayFailure, sayNothing } from "./common.js";
import { Cues } from "./cues.js";
import { Input } from "./input.js";
import { Link } from "./link.js";
import { SceneView } from "./scene.js";
import { Headset } from "./xr.js";

const LET_GO = "let_go";
const at = (id) => document.getElementById(id);

async function open() {
  if (!(await enter())) return;
  let facts;
  try {
    facts = await api("/api/teleop");
  } catch (error) {
    sayFailure(error);
    return;
  }
  at("drive").hidden = false;
  const view = new SceneView(at("scene"));
  view.load(await apiBytes("/api/teleop/scene"));
  for (const button of at("views").children) button.onclick = () => view.lookFrom(button.dataset.view);

  const cues = new Cues((text) => (at("cue").textContent = text), facts.quiet);
  at("cues").parentElement.hidden = facts.quiet;
  at("cues").checked = cues.on;
  at("cues").onchange = () => cues.turn(at("cues").checked);

  const letGo = facts.controls.find(([name]) => name === LET_GO)?.[1][0];
  const input = new Input(facts.keys, letGo, () => {
    link?.send();
    showHeld(input);
  });
  showControls(facts, input);
  let [status, headset] = [null, null];
  const link = new Link({
    input: () => ({ ...input.state(), ...(headset?.hands && { hands: headset.hands }) }),
    onPicture: (bodies) => view.show(bodies),
    onStatus: (now) => {
      status = now;
      cues.follow(now);
      showStatus(now, facts);
      headset?.tell(now);
    },
    onLost: (error) => {
      if (error?.status) sayFailure(error);
      else say("The connection is lost.", `Everything that was saved is safe${facts.file ? `, in ${facts.file}` : ""}. Trying again.`);
      at("phase").textContent = "not connected";
      at("phase").dataset.phase = "lost";
    },
    onFound: async (again) => {
      sayNothing();
      // The server may have been started anew, with another task.
      if (JSON.stringify(again) !== JSON.stringify(facts)) location.reload();
    },
  });
  for (const button of at("actions").querySelectorAll("[data-action]")) button.onclick = () => input.count(`ui:${button.dataset.action}`);
  headset = facts.hands ? new Headset(view, link, { buttons: at("headset"), list: at("checklist") }) : null;
  at("claim").onclick = () => link.claim();
  setInterval(() => showLine(link, input, status), 500);
  return { view, link, input, facts, headset };
}

function showStatus(status, facts) {
  at("phase").textContent = status.over ? "finished" : status.text;
  at("phase").dataset.phase = status.over ? "over" : status.phase;
  at("saved").textContent = status.saved;
  at("wanted").textContent = facts.file ? `saved${status.wanted ? ` of ${status.wanted}` : ""}` : "times done";
  at("discarded").textContent = status.discarded ? `${status.discarded} discarded` : "";
  at("held").textContent = `${Math.min(status.held, status.needed)} of ${status.needed} steps`;
  at("success").value = Math.min(status.held / status.needed, 1);
  const rows = { task: facts.task, now: status.subtask, step: `${status.steps} at ${status.hz} Hz`, pace: status.saved ? `${status.per_hour} an hour` : "", last: status.outcome, hands: status.device, generation: status.beside, file: facts.file };
  at("facts").replaceChildren(...Object.entries(rows).flatMap(([name, value]) => (value ? [element("dt", {}, name), element("dd", {}, value)] : [])));
  at("take").textContent = status.take;
  at("hints").replaceChildren(...status.hints.map((hint) => element("li", {}, hint)));
  const swings = at("actions").querySelector("[data-action=switch]");
  swings.hidden = status.swing_cancellation === null;
  swings.setAttribute("aria-pressed", String(status.swing_cancellation));
  swings.textContent = `Swing cancellation ${status.swing_cancellation ? "on" : "off"}`;
  const underWay = ["recording", "driving"].includes(status.phase);
  if (facts.session) at("actions").querySelector("[data-action=start]").firstChild.textContent = underWay ? "End" : "Begin";
  for (const button of at("actions").querySelectorAll("[data-action]")) {
    const allowed = { start: status.phase === "ready" || (facts.session && underWay), save: underWay, reset: status.phase !== "rest", switch: status.phase === "ready", quit: true };
    button.disabled = status.over || !allowed[button.dataset.action];
  }
}

/** The key map, whose keys can be held with a finger, too. */
function showControls(facts, input) {
  at("controls-panel").dataset.drives = facts.drives ? "yes" : "no";
  at("pad").textContent = facts.drives ? "" : `${facts.device} drives.`;
  if (!facts.drives) {
    if (facts.help) at("pad").after(element("pre", {}, facts.help));
    return;
  }
  const session = at("actions").querySelectorAll("[data-action]");
  for (const button of session) {
    const key = facts.controls.find(([name]) => name === button.dataset.action)?.[1][0];
    if (key) button.append(" ", element("kbd", {}, label(key)));
  }
  const actions = [...session].map((button) => button.dataset.action);
  const moving = facts.controls.filter(([name]) => !actions.includes(name));
  at("controls").replaceChildren(...moving.map(([name, names]) => element("div", {}, ...names.map((key) => keyButton(key, input)), element("span", {}, name.replace("_", " ")))));
}

function keyButton(key, input) {
  const button = element("button", { title: `hold: ${label(key)}` }, label(key));
  button.dataset.key = key;
  button.onpointerdown = (event) => {
    button.setPointerCapture(event.pointerId);
    input.press(`finger ${event.pointerId}`, key);
  };
  button.onpointerup = button.onpointercancel = (event) => input.lift(`finger ${event.pointerId}`);
  button.oncontextmenu = (event) => event.preventDefault();
  return button;
}

const label = (key) => (key.length > 1 ? key : key.toUpperCase());

function showHeld(input) {
  const held = input.heldKeys();
  for (const button of at("controls").querySelectorAll("button")) button.classList.toggle("held", held.has(button.dataset.key));
}

let lastPictures = 0;

function showLine(link, input, status) {
  const rate = 2 * (link.pictures - lastPictures);
  lastPictures = link.pictures;
  at("line").textContent = link.over ? "" : `${rate} pictures a second, ${link.loopMs ?? "-"} ms from input to picture`;
  at("other").hidden = !status?.driver || status.driver === link.page;
  if (input.padName && input.pad()) at("pad").textContent = `Gamepad: ${input.padName}`;
}

globalThis.teleop = await open();
