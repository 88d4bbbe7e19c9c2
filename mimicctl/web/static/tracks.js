// One timeline for everything: plots, and rows of spans and ticks, under one line that stands at the current step.

import { element } from "./common.js";
import uPlot from "./vendor/uplot.min.js";

const GUTTER = 84;
const PAD = 10;
const HEIGHT = 118;

/** Colours of lines, to be told apart in light and in dark. */
const COLOURS = ["#d1495b", "#3a9d5d", "#3d7edb", "#b8860b", "#8e5bd0", "#0f9aa8", "#7a828c", "#c2589b", "#6f8f2f"];

export class Tracks {
  #plots = [];
  #rows = element("div", { className: "rows" });
  #below = element("div");
  #now = element("div", { className: "now" });

  /** Scrubs `player`; `rows` come first, and plots below them. */
  constructor(player) {
    this.player = player;
    this.node = element("div", { className: "tracks", tabIndex: 0, role: "slider" }, this.#rows, this.#below, this.#now);
    this.node.setAttribute("aria-label", "Step");
    this.node.style.setProperty("--gutter", `${GUTTER}px`);
    this.node.style.setProperty("--pad", `${PAD}px`);
    this.last = Math.max(player.length - 1, 1);
    this.#scrub();
    player.listen(() => this.#follow());
    this.resizing = new ResizeObserver(() => this.#fit());
    this.resizing.observe(this.node);
  }

  close() {
    this.resizing.disconnect();
    this.#plots.forEach(({ plot }) => plot.destroy());
  }

  /** Where a step lies between the gutter and the pad, 0 to 1. */
  share(step) { return Math.min(Math.max(step / this.last, 0), 1); }

  /** Rows of [{ label, spans: [{ from, to, text, className }], ticks: [{ step, text, className }] }], instead of those before. */
  setRows(rows) {
    this.#rows.replaceChildren(...rows.map((row) => this.#row(row)));
  }

  #row({ label, spans = [], ticks = [] }) {
    const lane = element("div", { className: "lane" });
    for (const { from, to, text = "", className = "" } of spans) {
      const span = element("span", { className: `span ${className}`, title: text }, text);
      span.style.left = `${100 * this.share(from)}%`;
      span.style.width = `${100 * (this.share(to) - this.share(from))}%`;
      lane.append(span);
    }
    for (const { step, text = "", className = "", onclick } of ticks) {
      const tick = element("button", { className: `tick ${className}`, title: `${text}, step ${step}`, tabIndex: -1 }, element("span", {}, text));
      tick.style.left = `${100 * this.share(step)}%`;
      tick.onclick = onclick || (() => { this.player.pause(); this.player.seek(step); });
      tick.onpointerdown = (event) => event.stopPropagation();
      lane.append(tick);
    }
    return element("div", { className: "row" }, element("span", { className: "label", title: label }, label), lane);
  }

  /** A plot of groups as the server has them, { title, lines: [{ name, values }] } at steps `at`; those of `beside` are dashed. */
  addPlot(group, at, beside = null) {
    const values = element("span", { className: "values" });
    const host = element("div", { className: "plot" });
    const colour = (i) => COLOURS[i % COLOURS.length];
    const shown = group.lines.map((line, i) => element("span", {}, element("i", {}, line.name), " ", element("b", {})));
    shown.forEach((node, i) => { node.style.color = colour(i); });
    values.append(...shown);
    this.#below.append(element("div", { className: "group" }, element("div", { className: "title" }, element("span", {}, group.title), values), host));
    const other = beside?.groups.find((candidate) => candidate.title === group.title);
    const joined = other ? uPlot.join([[at, ...group.lines.map((l) => l.values)], [beside.at, ...other.lines.map((l) => l.values)]]) : [at, ...group.lines.map((l) => l.values)];
    const lines = [
      ...group.lines.map((line, i) => ({ label: line.name, stroke: colour(i), width: 1.5, points: { show: false }, spanGaps: true })),
      ...(other?.lines ?? []).map((line, i) => ({ label: `${line.name} beside`, stroke: colour(i), width: 1.25, dash: [5, 4], alpha: 0.75, points: { show: false }, spanGaps: true })),
    ];
    const ink = () => resolved("--faint");
    const grid = () => resolved("--line");
    const axis = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const plot = new uPlot({
      width: Math.max(this.node.clientWidth, 200), height: HEIGHT, legend: { show: false }, cursor: { show: false }, select: { show: false },
      padding: [6, PAD, 0, 0],
      scales: { x: { time: false, range: () => [0, this.last] } },
      series: [{}, ...lines],
      axes: [{ ...axis, size: 20, gap: 2, values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? tick : "")) }, { ...axis, size: GUTTER, gap: 6, space: 24 }],
    }, joined, host);
    this.#plots.push({ plot, at, group, shown: shown.map((node) => node.lastChild) });
    this.#follow();
  }

  #follow() {
    const { step } = this.player;
    this.#now.style.setProperty("--at", this.share(step));
    this.node.setAttribute("aria-valuenow", step);
    this.node.setAttribute("aria-valuemax", this.player.length - 1);
    for (const { at, group, shown } of this.#plots) {
      const i = nearest(at, step);
      shown.forEach((node, k) => { node.textContent = number(group.lines[k].values[i]); });
    }
  }

  #fit() {
    const width = this.node.clientWidth;
    if (width && width !== this.width) this.#plots.forEach(({ plot }) => plot.setSize({ width, height: HEIGHT }));
    this.width = width;
  }

  #scrub() {
    const seek = (event) => {
      const box = this.node.getBoundingClientRect();
      this.player.seek(((event.clientX - box.left - GUTTER) / (box.width - GUTTER - PAD)) * this.last);
    };
    this.node.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.player.pause();
      this.node.setPointerCapture(event.pointerId);
      seek(event);
    });
    this.node.addEventListener("pointermove", (event) => {
      if (this.node.hasPointerCapture(event.pointerId)) seek(event);
    });
  }
}

/** A canvas cannot read light-dark(): the colour that it stands for now. */
function resolved(name) {
  const probe = element("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

function nearest(at, step) {
  let low = 0;
  let high = at.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (at[middle] <= step) low = middle;
    else high = middle - 1;
  }
  return low;
}

function number(value) {
  if (value === null || value === undefined) return "-";
  return Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(3);
}
