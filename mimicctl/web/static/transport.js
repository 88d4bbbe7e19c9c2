// Buttons and keys that play a demo, the same on every page that shows one.

import { element } from "./common.js";

const SPEEDS = [0.25, 0.5, 1, 2, 4];

/** Buttons for `player`. */
export function transport(player) {
  const play = element("button", { className: "play" });
  const where = element("span", { className: "where" });
  const speed = element("select", { title: "Speed" }, ...SPEEDS.map((times) => element("option", { value: times, selected: times === 1 }, `${times} x`)));
  speed.onchange = () => { player.speed = Number(speed.value); speed.blur(); };
  play.onclick = () => player.toggle();
  const button = (text, title, onclick) => element("button", { title, onclick }, text);
  player.listen(() => {
    play.textContent = player.playing ? "Pause" : "Play";
    where.textContent = `step ${player.step} of ${player.length - 1}, ${(player.step / player.hz).toFixed(2)} s`;
  });
  return element("div", { className: "transport" },
    button("« 10", "Ten steps back ([)", () => player.move(-10)), button("‹", "One step back (left arrow)", () => player.move(-1)), play,
    button("›", "One step on (right arrow)", () => player.move(1)), button("10 »", "Ten steps on (])", () => player.move(10)), where, speed);
}

/** Keys that every page with a player has; true if `event` was one of them. */
export function playerKey(event, player) {
  const moves = { ArrowLeft: -1, ArrowRight: 1, ",": -1, ".": 1, "[": -10, "]": 10 };
  if (event.key in moves) player.move(event.shiftKey && event.key.startsWith("Arrow") ? 10 * moves[event.key] : moves[event.key]);
  else if (event.key === " ") player.toggle();
  else if (event.key === "Home") player.move(-player.step);
  else if (event.key === "End") player.move(player.length);
  else if (event.key.toLowerCase() === "n") player.play();
  else if (event.key.toLowerCase() === "b") player.pause();
  else return false;
  return true;
}

/** Give keys to `handle`, which says whether it took one; not what is typed into a field, nor shortcuts of the browser. */
export function onKeys(handle) {
  document.addEventListener("keydown", (event) => {
    const field = event.target.closest?.("input, select, textarea, dialog");
    const pressing = event.target.closest?.("button, a, [tabindex]:not(.tracks)") && (event.key === " " || event.key === "Enter");
    if (field || pressing || event.altKey || event.metaKey || (event.ctrlKey && event.key !== "z")) return;
    if (handle(event)) event.preventDefault();
  });
}

/** What the keys do, [[key, what]], for `showModal`. */
export function keysDialog(rows) {
  const dialog = element("dialog", {}, element("h2", {}, "Keys"),
    element("dl", {}, ...rows.flatMap(([key, what]) => [element("dt", {}, element("kbd", {}, key)), element("dd", {}, what)])),
    element("button", { onclick: () => dialog.close() }, "Close"));
  return dialog;
}

// A button that was clicked would take the next Enter or space for itself.
document.addEventListener("click", (event) => {
  if (event.detail) event.target.closest?.("button")?.blur();
});
