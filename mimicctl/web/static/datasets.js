// The dataset viewer: files, the demos of one, and one demo, or two beside each other. The address says which.

import { watchServer } from "./alive.js";
import { api, apiBytes, element, enter, sayFailure, sayNothing } from "./common.js";
import { dateText, filesFailure, lengthText, sizeText } from "./words.js";
import { Marks } from "./marks.js";
import { Player } from "./player.js";
import { Tracks } from "./tracks.js";
import { keysDialog, onKeys, playerKey, transport } from "./transport.js";
import { FilmTile, SceneTile } from "./views.js";

const main = document.querySelector("main");
const SKETCHES_AT_ONCE = 50;
const SKETCH_POINTS = 32;
const FILTERS = {
  all: ["all", () => true],
  success: ["successful", (demo) => demo.success],
  failure: ["failed", (demo) => !demo.success],
  kept: ["kept", (demo, mark) => mark === "kept"],
  discarded: ["discarded", (demo, mark) => mark === "discarded"],
  unmarked: ["not marked", (demo, mark) => !mark],
};

const HELP = [
  ["Space", "play or pause"], ["N  B", "play, pause"], ["← →", "a step back or on; with Shift, or [ ]: ten"], ["Home End", "the first step, the last one"],
  ["K", "keep the demo"], ["X", "discard it"], ["C", "clear the mark"], ["P  D", "the demo before, the next one"], ["Esc", "back to the list"], ["?", "this help"],
];

let keys = () => false;
let leave = () => {};
let scenes = [];
const choice = { filter: "all", text: "" };

/** Go to another view; `where` holds the parts of the address: file, demo, beside. */
function go(where, replace = false) {
  const address = new URLSearchParams(Object.entries(where).filter(([, value]) => value));
  history[replace ? "replaceState" : "pushState"](null, "", `${location.pathname}${address.size ? `?${address}` : ""}`);
  draw();
}

function link(where, properties, ...children) {
  const address = new URLSearchParams(Object.entries(where).filter(([, value]) => value));
  const made = element("a", { href: `?${address}`, ...properties }, ...children);
  made.onclick = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(where);
  };
  return made;
}

let drawing = 0;
async function draw() {
  const number = ++drawing;
  const current = () => number === drawing;
  leave();
  leave = () => {};
  keys = () => false;
  const where = Object.fromEntries(new URLSearchParams(location.search));
  try {
    sayNothing();
    const files = await api("/api/datasets");
    if (!current()) return;
    if (!where.file) return drawFiles(files);
    const file = files.find((candidate) => candidate.name === where.file);
    if (!file) throw new Error(`There is no file ${where.file} in this workspace.`);
    const { demos, file: now } = await api(`/api/datasets/${file.number}/demos`);
    if (!current()) return;
    const marks = marksOf(now, demos);
    if (!where.demo) return drawDemos(now, demos, marks);
    await drawDemo(now, demos, marks, where, current);
  } catch (error) {
    if (current()) {
      main.replaceChildren(element("p", {}, link({}, {}, "All files")));
      sayFailure(error);
    }
  }
}

/** Marks live as long as one looks at a file, since some may be on their way to it. */
let held = null;
function marksOf(file, demos) {
  if (held?.file.number !== file.number || held.idle) held = new Marks(file, demos);
  return held;
}

// All files ------------------------------------------------------------------------------------------------

function drawFiles(files) {
  document.title = "Demonstrations - mimicctl";
  const list = element("div", { className: "files" });
  for (const file of files) {
    const facts = [`${file.demos} ${file.demos === 1 ? "demo" : "demos"}`, file.task, file.made_by, file.cameras.length ? `cameras: ${file.cameras.join(", ")}` : ""];
    const marked = [file.kept ? `${file.kept} kept` : "", file.discarded ? `${file.discarded} discarded` : ""].filter(Boolean).join(", ");
    const about = [
      element("span", { className: "title" }, file.name, file.being_written ? element("span", { className: "warn" }, "  being written now") : ""),
      element("span", { className: "aside faint" }, `${sizeText(file.size)}, ${dateText(file.modified)}`),
    ];
    if (file.problem) list.append(element("div", { className: "file panel broken" }, ...about, filesFailure(file)));
    else list.append(link({ file: file.name }, { className: "file panel" }, ...about, element("p", { className: "faint" }, facts.filter(Boolean).join(" · ")), element("span", { className: "aside" }, marked)));
  }
  if (!files.length) list.append(element("p", {}, "There are no datasets here yet. Make one with ", element("kbd", {}, "mimicctl record"), " or ", element("kbd", {}, "mimicctl generate"), "."));
  main.replaceChildren(element("h1", {}, "Datasets"), list);
}

// The demos of a file ------------------------------------------------------------------------------------------

function drawDemos(file, demos, marks) {
  document.title = `${file.name} - mimicctl`;
  const grid = element("div", { className: "demos" });
  const count = element("span", { className: "faint" });
  const filter = element("select", { title: "Which demos" }, ...Object.entries(FILTERS).map(([value, [text]]) => element("option", { value, selected: choice.filter === value }, text)));
  const search = element("input", { type: "search", placeholder: "name or source", value: choice.text, size: 16 });
  search.setAttribute("aria-label", "Name or source");
  const cards = demos.map((demo, i) => ({ demo, node: demoCard(file, demo, i), i }));
  const watching = new IntersectionObserver((seen) => seen.forEach((entry) => entry.isIntersecting && showThumb(file, entry.target, watching)), { rootMargin: "400px" });
  for (const { node } of cards) watching.observe(node);

  const refresh = () => {
    const wanted = cards.filter(({ demo }) => FILTERS[choice.filter][1](demo, marks.of(demo.name)) && `${demo.name} ${demo.source}`.toLowerCase().includes(choice.text.toLowerCase()));
    grid.replaceChildren(...wanted.map(({ node }) => node));
    say();
  };
  // What is marked stays where it is until one filters again: it must not vanish under the cursor.
  const say = () => {
    for (const { demo, node } of cards) showMark(node, marks.of(demo.name));
    const successes = demos.filter((demo) => demo.success).length;
    count.textContent = `${grid.childElementCount} of ${demos.length} demos shown; ${successes} succeeded, ${marks.count("kept")} kept, ${marks.count("discarded")} discarded`;
  };
  filter.onchange = () => { choice.filter = filter.value; refresh(); };
  search.oninput = () => { choice.text = search.value; refresh(); };
  const stop = marks.listen(say);
  main.replaceChildren(
    element("div", { className: "crumbs" }, link({}, {}, "Datasets"), "/", element("h1", {}, file.name), element("span", { className: "faint" }, file.task), marks.state),
    element("div", { className: "toolbar" }, filter, search, count),
    grid,
    element("p", { className: "faint" }, "Arrows choose, Enter opens, ", element("kbd", {}, "K"), " keeps, ", element("kbd", {}, "X"), " discards, ", element("kbd", {}, "C"), " clears the mark. Discarded demos stay in the file; training, generation and annotation leave them out."),
  );
  refresh();
  leave = () => { watching.disconnect(); stop(); };
  keys = (event) => {
    const nodes = [...grid.children];
    const at = nodes.indexOf(document.activeElement);
    const columns = Math.max(nodes.filter((node) => node.offsetTop === nodes[0]?.offsetTop).length, 1);
    const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };
    if (event.key in moves && nodes.length) {
      nodes[at < 0 ? 0 : Math.min(Math.max(at + moves[event.key], 0), nodes.length - 1)].focus();
      return true;
    }
    return at >= 0 && marks.key(event, nodes[at].dataset.demo);
  };
}

function demoCard(file, demo, i) {
  const thumb = file.cameras.length ? element("img", { className: "thumb", alt: "" }) : element("canvas", { className: "thumb", width: 320, height: 200 });
  const card = link({ file: file.name, demo: demo.name }, { className: "demo panel" }, thumb, element("span", { className: "mark" }),
    element("span", { className: "title" }, element("b", {}, demo.name), element("span", { className: demo.success ? "good" : "bad" }, demo.success ? "success" : "failed")),
    element("p", { className: "faint" }, lengthText(demo)), element("p", { className: "faint", title: demo.source }, demo.source || " "));
  card.dataset.demo = demo.name;
  card.dataset.index = i;
  card.dataset.steps = demo.steps;
  return card;
}

function showMark(card, mark) {
  card.classList.toggle("kept", mark === "kept");
  card.classList.toggle("discarded", mark === "discarded");
  card.querySelector(".mark").textContent = mark;
}

/** The first camera half-way through, or the way of the hand from above. */
async function showThumb(file, card, watching) {
  watching.unobserve(card);
  const thumb = card.querySelector(".thumb");
  if (thumb instanceof HTMLImageElement) {
    thumb.src = `/api/datasets/${file.number}/demos/${card.dataset.demo}/images/${file.cameras[0]}/${Math.floor(card.dataset.steps / 2)}`;
    return;
  }
  const index = Number(card.dataset.index);
  const first = index - (index % SKETCHES_AT_ONCE);
  try {
    drawSketch(thumb, (await sketches(file, first)).subarray((index - first) * SKETCH_POINTS * 3, (index - first + 1) * SKETCH_POINTS * 3));
  } catch { /* a demo without a picture is still a demo */ }
}

const sketched = new Map();
function sketches(file, first) {
  const key = `${file.version}/${file.number}/${first}`;
  if (!sketched.has(key)) sketched.set(key, apiBytes(`/api/datasets/${file.number}/sketches/${first}`).then((bytes) => new Float32Array(bytes)));
  return sketched.get(key);
}

function drawSketch(canvas, points) {
  const context = canvas.getContext("2d");
  const numbers = [...points];
  if (!numbers.length || numbers.some(Number.isNaN)) {
    context.fillStyle = getComputedStyle(canvas).color;
    context.font = "14px system-ui, sans-serif";
    context.fillText("no picture", 12, 24);
    return;
  }
  const at = (i) => [numbers[3 * i + 1], numbers[3 * i], numbers[3 * i + 2]]; // as the operator sees it from above: y to the left, x ahead
  const all = Array.from({ length: SKETCH_POINTS }, (_, i) => at(i));
  const low = [0, 1].map((k) => Math.min(...all.map((p) => p[k])));
  const high = [0, 1].map((k) => Math.max(...all.map((p) => p[k])));
  const scale = 0.8 * Math.min(canvas.width / Math.max(high[0] - low[0], 0.05), canvas.height / Math.max(high[1] - low[1], 0.05));
  const put = ([y, x]) => [canvas.width / 2 - (y - (low[0] + high[0]) / 2) * scale, canvas.height / 2 - (x - (low[1] + high[1]) / 2) * scale];
  const heights = all.map((p) => p[2]);
  const lowest = Math.min(...heights);
  const span = Math.max(Math.max(...heights) - lowest, 0.01);
  context.lineWidth = 4;
  context.lineCap = "round";
  for (let i = 1; i < all.length; i++) {
    context.strokeStyle = `hsl(${215 - 190 * ((heights[i] - lowest) / span)} 65% 52%)`; // low is blue, high is warm
    context.beginPath();
    context.moveTo(...put(all[i - 1]));
    context.lineTo(...put(all[i]));
    context.stroke();
  }
  for (const [i, colour] of [[0, "#3a9d5d"], [all.length - 1, "#d1495b"]]) {
    context.fillStyle = colour;
    context.beginPath();
    context.arc(...put(all[i]), 7, 0, 2 * Math.PI);
    context.fill();
  }
}

// One demo, or two -----------------------------------------------------------------------------------------------

async function drawDemo(file, demos, marks, where, current) {
  const shown = [where.demo, where.beside].filter(Boolean).map((name) => demos.find((demo) => demo.name === name));
  if (shown.includes(undefined)) throw new Error(`There is no such demo in ${file.name}.`);
  const [demo, beside] = shown;
  const at = demos.indexOf(demo);
  document.title = `${demo.name} of ${file.name} - mimicctl`;
  const series = await Promise.all(shown.map((each) => api(`/api/datasets/${file.number}/demos/${each.name}/series`)));
  if (!current()) return;
  const player = new Player(Math.max(...series.map((each) => each.steps)), series[0].hz);
  const tracks = new Tracks(player);
  const films = [];
  const columns = shown.map((each, i) => {
    scenes[i] ??= new SceneTile("");
    const name = beside ? `${each.name}: ` : "";
    scenes[i].caption.textContent = `${name}drag to turn`;
    scenes[i].load(`/api/datasets/${file.number}/scene`, `/api/datasets/${file.number}/demos/${each.name}/frames`);
    const own = file.cameras.map((camera) => {
      const film = new FilmTile(`${name}${camera}`);
      film.load(`/api/datasets/${file.number}/demos/${each.name}/images/${camera}`);
      films.push(film);
      return film;
    });
    scenes[i].node.className = "tile wide";
    return element("div", { className: "tiles" }, scenes[i].node, ...own.map((film) => film.node));
  });

  const other = element("select", { title: "Compare with" }, element("option", { value: "" }, "compare with ..."),
    ...demos.filter((each) => each !== demo).map((each) => element("option", { value: each.name, selected: each === beside }, `${each.name}${each.success ? "" : " (failed)"}`)));
  other.onchange = () => go({ ...where, beside: other.value });
  const turn = (by) => demos[at + by] && go({ file: file.name, demo: demos[at + by].name });
  const judging = [["kept", "Keep", "K"], ["discarded", "Discard", "X"], ["", "Clear", "C"]].map(([mark, text, key]) =>
    element("button", { title: `${text} (${key})`, onclick: () => marks.set(demo.name, mark) }, text));
  const said = element("span");
  const stop = marks.listen(() => {
    const mark = marks.of(demo.name);
    said.className = mark === "discarded" ? "bad" : "good";
    said.textContent = mark;
    judging[2].disabled = !mark;
  });
  const help = keysDialog(HELP);
  const step = (title, by) => element("button", { title, disabled: !demos[at + by], onclick: () => turn(by) }, by < 0 ? "‹" : "›");
  main.replaceChildren(
    element("div", { className: "crumbs" }, link({}, {}, "Datasets"), "/", link({ file: file.name }, {}, file.name), "/", element("h1", {}, beside ? `${demo.name} and ${beside.name}` : demo.name),
      element("span", { className: demo.success ? "good" : "bad" }, demo.success ? "success" : "failed"), element("span", { className: "faint" }, [lengthText(demo), demo.source].filter(Boolean).join(", ")), marks.state),
    element("div", { className: "toolbar" }, step("The demo before (P)", -1), step("The next demo (D)", 1), ...judging, said, other, element("button", { className: "spread", title: "Keys (?)", onclick: () => help.showModal() }, "Keys"), help),
    element("div", { className: "looking" }, element("div", { className: beside ? "side two" : "side" }, ...columns), element("div", { className: "panel" }, transport(player), tracks.node)),
  );
  const lane = (label, spans = [], className = "") => ({ label, spans: spans.map(([from, to]) => ({ from, to, className })) });
  const signals = [...new Set(series.flatMap((each) => Object.keys(each.signals)))];
  tracks.setRows(signals.flatMap((name) => [lane(name, series[0].signals[name]), ...(beside ? [lane(beside.name, series[1].signals[name], "odd")] : [])]));
  for (const group of series[0].groups) tracks.addPlot(group, series[0].at, series[1]);
  const following = player.listen(() => {
    shown.forEach((_, i) => scenes[i].show(player.step));
    films.forEach((film) => film.show(player.step));
  });
  leave = () => { player.pause(); following(); stop(); tracks.close(); films.forEach((film) => film.close()); };
  keys = (event) => {
    const key = event.key.toLowerCase();
    if (playerKey(event, player) || marks.key(event, demo.name)) return true;
    if (key === "d") turn(1);
    else if (key === "p") turn(-1);
    else if (key === "?") help.showModal();
    else if (event.key === "Escape") go({ file: file.name });
    else return false;
    return true;
  };
}

onKeys((event) => keys(event));
addEventListener("popstate", draw);
if (await enter()) {
  watchServer();
  draw();
}
