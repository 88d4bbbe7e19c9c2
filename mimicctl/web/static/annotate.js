// The annotator: a demo, what is to be marked in it, and where that might be. Every mark is on disk as soon as it is shown.

import { watchServer } from "./alive.js";
import { api, element, enter, sayFailure, sayNothing } from "./common.js";
import { filesFailure } from "./words.js";
import { Player } from "./player.js";
import { Tracks } from "./tracks.js";
import { keysDialog, onKeys, playerKey, transport } from "./transport.js";
import { FilmTile, SceneTile } from "./views.js";

const main = document.querySelector("main");
const HELP = [
  ["N", "play on"], ["B", "pause"], ["Space", "one or the other"], ["← →", "a step back or on; with Shift, or [ ]: ten"], ["↑ ↓", "the suggestion before, the next one"],
  ["S", "mark this step"], ["U", "undo"], ["M", "another boundary to mark"], ["Delete", "take the chosen mark away"], ["Enter", "accept the demo and go to the next"], ["Q", "skip the demo"], ["1 ... 9", "go to a mark"], ["?", "this help"],
];

let keys = () => false;
let leave = () => {};
let scene = null;

async function draw() {
  leave();
  leave = () => {};
  keys = () => false;
  const where = Object.fromEntries(new URLSearchParams(location.search));
  try {
    sayNothing();
    const files = (await api("/api/datasets"));
    const statuses = await Promise.all(files.map((file) => (file.problem ? null : api(`/api/annotations/${file.number}`))));
    const open = statuses.findIndex((status) => status?.open);
    const at = where.file ? files.findIndex((file) => file.name === where.file) : files.length === 1 ? open : -1;
    if (at >= 0 && statuses[at]?.open) return new Sitting(files[at], statuses[at]).start(where.demo);
    drawFiles(files, statuses);
  } catch (error) {
    sayFailure(error);
  }
}

function drawFiles(files, statuses) {
  document.title = "Annotate - mimicctl";
  const list = element("div", { className: "files" });
  files.forEach((file, i) => {
    const title = element("span", { className: "title" }, file.name);
    if (file.problem) {
      list.append(element("div", { className: "file panel broken" }, title, filesFailure(file)));
      return;
    }
    const status = statuses[i];
    const begin = (how, text, className = "") => element("button", { className, onclick: () => open(file, how) }, text);
    const buttons = status.open || status.marked ? [begin("resume", "Go on", "main")] : status.written ? [] : [begin("new", "Annotate", "main")];
    if (!status.open && (status.marked || status.written)) buttons.push(begin("overwrite", "Begin anew"));
    const said = status.open ? "open" : status.marked ? "begun before" : status.written ? "its output is there already; a new one replaces it when you write it" : "";
    list.append(element("div", { className: "file panel" }, title, element("p", { className: "faint" }, `${file.demos} demos · ${file.task || "no task named"}${said ? ` · ${said}` : ""}`),
      element("p", { className: "faint" }, `to ${status.output}`), element("span", { className: "actions" }, ...buttons)));
  });
  if (!files.length) list.append(element("p", {}, "There are no recordings here yet. Make one with ", element("kbd", {}, "mimicctl record"), "."));
  main.replaceChildren(element("h1", {}, "Recordings to annotate"), list);
}

async function open(file, begin) {
  if (begin === "overwrite" && !confirm("What was marked before, and the output when you write it, are replaced. Begin anew?")) return;
  try {
    sayNothing();
    const status = await api(`/api/annotations/${file.number}`, { begin });
    history.pushState(null, "", `${location.pathname}?${new URLSearchParams({ file: file.name })}`);
    leave();
    new Sitting(file, status).start();
  } catch (error) {
    sayFailure(error);
  }
}

/** A session as it is shown. */
class Sitting {
  constructor(file, status) {
    this.file = file;
    this.tracks = status.tracks;
    this.last = status.last;
    this.hz = status.hz;
    this.output = status.output;
    this.changes = Promise.resolve();
    this.verdicts = new Map(status.demos.map((demo) => [demo.name, demo.verdict]));
    this.chips = element("div", { className: "chips" });
    this.summary = element("span", { className: "faint" });
    this.writing = element("button", { onclick: () => this.write() });
    this.help = keysDialog(HELP);
    this.body = element("div");
    const name = this.output.split("/").at(-1);
    this.outputName = name;
    main.replaceChildren(
      element("div", { className: "crumbs" }, element("a", { href: "annotate.html" }, "Recordings"), "/", element("h1", {}, file.name), this.summary,
        element("button", { className: "spread", title: "Keys (?)", onclick: () => this.help.showModal() }, "Keys"), this.writing),
      this.chips, this.body, this.help,
    );
    document.title = `Annotate ${file.name} - mimicctl`;
    leave = () => this.close();
    keys = (event) => this.key(event);
  }

  get address() { return `/api/annotations/${this.file.number}/demos/${this.name}`; }

  start(name) {
    const names = [...this.verdicts.keys()];
    this.show(this.verdicts.has(name) ? name : names.find((each) => !this.verdicts.get(each)) ?? names[0]);
  }

  close() {
    this.player?.pause();
    this.timeline?.close();
    this.films?.forEach((film) => film.close());
  }

  async show(name) {
    this.close();
    this.name = name;
    this.chosen = null;
    this.drawChips();
    history.replaceState(null, "", `${location.pathname}?${new URLSearchParams({ file: this.file.name, demo: name })}`);
    try {
      const [seen, series] = await Promise.all([api(this.address), api(`/api/datasets/${this.file.number}/demos/${name}/series`)]);
      if (this.name !== name) return;
      this.lay(seen, series);
    } catch (error) {
      sayFailure(error);
    }
  }

  lay(seen, series) {
    this.player = new Player(seen.length, this.hz);
    this.timeline = new Tracks(this.player);
    scene ??= new SceneTile("");
    scene.node.className = "tile wide";
    scene.caption.textContent = `${seen.name}, replayed by its ${seen.replayed}; drag to turn`;
    scene.load(`/api/datasets/${this.file.number}/scene`, `${this.address}/frames`);
    this.films = this.file.cameras.map((camera) => {
      const film = new FilmTile(camera);
      film.load(`/api/datasets/${this.file.number}/demos/${seen.name}/images/${camera}`);
      return film;
    });
    this.message = element("p", { className: "message", role: "status" });
    this.list = element("div", { className: "boundaries" });
    this.accepting = element("button", { className: "main", onclick: () => this.accept(), title: "Accept (Enter)" }, "Accept ", keycap("Enter"));
    this.undoing = element("button", { onclick: () => this.undo(), title: "Undo (U)" }, "Undo ", keycap("U"));
    const marking = element("button", { onclick: () => this.mark(), title: "Mark this step (S)" }, "Mark ", keycap("S"));
    const jumping = [element("button", { title: "The suggestion before (arrow up)", onclick: () => this.jump(-1) }, "‹ suggestion ", keycap("↑")), element("button", { title: "The next suggestion (arrow down)", onclick: () => this.jump(1) }, "suggestion › ", keycap("↓"))];
    const warning = seen.success ? "" : element("p", { className: "warn" }, "This demo does not end in success when it is replayed. If you accept it, that is written with it.");
    this.body.replaceChildren(element("div", { className: "looking" },
      element("div", { className: "side" }, element("div", { className: "tiles" }, scene.node, ...this.films.map((film) => film.node))),
      element("div", { className: "panel" }, warning, transport(this.player), element("div", { className: "transport" }, ...jumping, marking, this.undoing), this.message, this.timeline.node,
        element("h2", {}, "Boundaries"), this.list,
        element("div", { className: "verdict" }, this.accepting, element("button", { onclick: () => this.skip(), title: "Skip (Q)" }, "Skip ", keycap("Q"))))));
    for (const group of series.groups.filter(({ title }) => title !== "actions")) this.timeline.addPlot(group, series.at);
    this.player.listen(() => {
      scene.show(this.player.step);
      this.films.forEach((film) => film.show(this.player.step));
    });
    this.take(seen);
  }

  /** The demo as the server has it now. */
  take(seen) {
    this.seen = seen;
    this.verdicts.set(seen.name, seen.verdict);
    if (!seen.refusal) this.chosen = seen.next;
    this.drawChips();
    this.drawBoundaries();
    this.drawRows();
    this.undoing.disabled = !seen.can_undo;
    this.accepting.disabled = Boolean(seen.next);
    if (seen.refusal) this.say(seen.refusal, "bad");
    else if (seen.verdict === "accepted") this.say("Accepted.", "good");
    else if (seen.verdict === "skipped") this.say("Skipped; accepting or marking takes it back.", "faint");
    else if (!seen.next) this.say("Everything is marked. Enter accepts.", "good");
    else {
      const boundary = this.tracks[this.chosen.eef][this.chosen.number];
      const [low, high] = seen.ranges[this.chosen.eef][this.chosen.number];
      this.say(`Mark where ${boundary.label}${this.whose(this.chosen.eef)}${low <= high ? `: step ${low} to ${high}` : ": there is no room left for it"}.`, "");
    }
  }

  whose(eef) { return Object.keys(this.tracks).length > 1 ? ` (${eef})` : ""; }

  say(text, className) {
    this.message.textContent = text;
    this.message.className = `message ${className}`;
  }

  drawChips() {
    this.chips.replaceChildren(...[...this.verdicts].map(([name, verdict]) => {
      const chip = element("button", { className: verdict, onclick: () => this.show(name), title: verdict || "not judged yet" }, verdict === "accepted" ? `${name} ✓` : name);
      if (name === this.name) chip.setAttribute("aria-current", "true");
      return chip;
    }));
    const counted = (verdict) => [...this.verdicts.values()].filter((each) => each === verdict).length;
    this.summary.textContent = `${counted("accepted")} accepted, ${counted("skipped")} skipped, ${counted("")} to do${this.file.discarded ? `, ${this.file.discarded} discarded` : ""}`;
    this.writing.disabled = !counted("accepted");
    this.writing.className = counted("") ? "" : "main";
    this.writing.textContent = `Write ${this.outputName}`;
    this.chips.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  }

  drawBoundaries() {
    const rows = [];
    for (const [eef, boundaries] of Object.entries(this.tracks)) {
      boundaries.forEach((boundary, number) => {
        const step = this.seen.steps[eef][number];
        const chosen = this.chosen?.eef === eef && this.chosen.number === number;
        const row = element("div", { className: `boundary ${step === null ? "" : "set"} ${chosen ? "chosen" : ""}` },
          element("span", {}, boundary.label, element("span", { className: "faint" }, `  ${boundary.kind === "start" ? "start" : "end"} of "${boundary.subtask}"${this.whose(eef)}`)),
          element("span", { className: "step" }, step === null ? "not marked" : `step ${step}`),
          step === null ? "" : element("button", { title: "Take this mark away", onclick: (event) => { event.stopPropagation(); this.clear(eef, number); } }, "×"));
        row.onclick = () => this.choose(eef, number);
        rows.push(row);
      });
    }
    this.list.replaceChildren(...rows);
  }

  drawRows() {
    const { seen } = this;
    const jump = (step) => () => { this.player.pause(); this.player.seek(step); };
    const rows = [{
      label: "suggestions",
      ticks: seen.suggestions.map((s) => ({ step: s.step, text: s.label, className: s.signal ? "signal" : "", onclick: jump(s.step) })),
    }];
    for (const [eef, boundaries] of Object.entries(this.tracks)) {
      const steps = seen.steps[eef];
      const spans = this.segments(eef, boundaries, steps).map((span, i) => ({ ...span, className: i % 2 ? "odd" : "" }));
      if (this.chosen?.eef === eef) {
        const [low, high] = seen.ranges[eef][this.chosen.number];
        if (low <= high) spans.push({ from: low, to: high, className: "range" });
      }
      rows.push({
        label: eef, spans,
        ticks: boundaries.flatMap((boundary, number) => (steps[number] === null ? [] : [{
          step: steps[number], text: boundary.label, className: "mark", onclick: () => { this.choose(eef, number); },
        }])),
      });
    }
    this.timeline.setRows(rows);
  }

  /** The subtasks as far as their boundaries are marked; the last one goes to the end. */
  segments(eef, boundaries, steps) {
    const spans = [];
    let from = 0;
    boundaries.forEach((boundary, number) => {
      const step = steps[number];
      if (boundary.kind === "end" && step !== null && from !== null) spans.push({ from, to: step, text: boundary.subtask });
      from = step;
    });
    if (from !== null) spans.push({ from, to: this.seen.length - 1, text: this.last[eef] });
    return boundaries.length && steps.every((step) => step === null) ? [] : spans;
  }

  choose(eef, number) {
    this.chosen = { eef, number };
    const step = this.seen.steps[eef][number];
    if (step !== null) {
      this.player.pause();
      this.player.seek(step);
      this.say(`S at another step moves this mark; allowed are ${this.seen.ranges[eef][number].join(" to ")}.`, "");
    }
    this.drawBoundaries();
    this.drawRows();
  }

  /** One change after the other, however fast they are asked for. `body` is asked for what the change needs when its turn has come; null for none. */
  change(what, body = () => ({})) {
    const name = this.name;
    this.changes = this.changes.then(async () => {
      const given = this.name === name ? body() : null;
      if (!given) return null;
      try {
        const seen = await api(`${this.address}/${what}`, given);
        sayNothing();
        if (this.name === name) this.take(seen);
        return seen;
      } catch (error) {
        sayFailure(error);
        return null;
      }
    });
    return this.changes;
  }

  mark() {
    this.player.pause();
    const { step } = this.player;
    this.change("mark", () => {
      if (!this.chosen) this.say("Everything is marked. Choose a boundary to move it, or accept with Enter.", "good");
      return this.chosen && { ...this.chosen, step };
    });
  }

  clear(eef, number) { this.change("clear", () => ({ eef, number })); }

  async undo() {
    const seen = await this.change("undo");
    if (seen?.step !== null && seen?.step !== undefined) this.player.seek(seen.step);
  }

  async accept() {
    const seen = await this.change("accept");
    if (seen && !seen.refusal) this.next();
  }

  async skip() {
    if (await this.change("skip")) this.next();
  }

  /** To the next demo that is not judged, from here on, then from the beginning. */
  next() {
    const names = [...this.verdicts.keys()];
    const at = names.indexOf(this.name);
    const following = [...names.slice(at + 1), ...names.slice(0, at)].find((name) => !this.verdicts.get(name));
    if (following) this.show(following);
    else this.say(`Every demo is judged. Write ${this.outputName} to finish.`, "good");
  }

  jump(direction) {
    const steps = [...new Set(this.seen.suggestions.map((s) => s.step))];
    const found = direction > 0 ? steps.find((step) => step > this.player.step) : steps.findLast((step) => step < this.player.step);
    this.player.pause();
    if (found === undefined) {
      this.say(`There is no suggestion ${direction > 0 ? "further on" : "before this"}.`, "faint");
      return;
    }
    this.player.seek(found);
    this.say(`${this.seen.suggestions.filter((s) => s.step === found).map((s) => s.label).join(", ")} at step ${found}.`, "");
  }

  chooseAnother() {
    const all = Object.entries(this.tracks).flatMap(([eef, boundaries]) => boundaries.map((_, number) => ({ eef, number })));
    const at = all.findIndex((each) => each.eef === this.chosen?.eef && each.number === this.chosen.number);
    const { eef, number } = all[(at + 1) % all.length];
    this.choose(eef, number);
  }

  async write() {
    this.writing.disabled = true;
    this.writing.textContent = "Writing ...";
    try {
      const made = await api(`/api/annotations/${this.file.number}/finish`, {});
      sayNothing();
      this.say(`${made.written} demos are in ${made.output}. Next: mimicctl generate --input-file ${made.output}`, "good");
    } catch (error) {
      sayFailure(error);
    }
    this.drawChips();
  }

  key(event) {
    if (!this.seen || this.seen.name !== this.name) return false;
    const key = event.key.toLowerCase();
    const marks = Object.values(this.seen.steps).flat().filter((step) => step !== null);
    if (event.key === "ArrowUp") this.jump(-1);
    else if (event.key === "ArrowDown") this.jump(1);
    else if (key === "s") this.mark();
    else if (key === "u" || (event.ctrlKey && key === "z") || key === "backspace") this.undo();
    else if (key === "m") this.chooseAnother();
    else if (key === "delete" && this.chosen) this.clear(this.chosen.eef, this.chosen.number);
    else if (key === "enter") this.accept();
    else if (key === "q") this.skip();
    else if (key === "?") this.help.showModal();
    else if (/^[1-9]$/.test(key) && marks[key - 1] !== undefined) this.player.seek(marks[key - 1]);
    else return playerKey(event, this.player);
    return true;
  }
}

function keycap(key) { return element("kbd", {}, key); }

onKeys((event) => keys(event));
addEventListener("popstate", draw);
if (await enter()) {
  watchServer();
  draw();
}
