// Sizes, lengths and dates, for people.

import { element } from "./common.js";

export function sizeText(bytes) {
  const units = ["B", "kB", "MB", "GB"];
  let size = bytes;
  while (size >= 1000 && units.length > 1) {
    size /= 1000;
    units.shift();
  }
  return `${units[0] === "B" ? size : size.toFixed(1)} ${units[0]}`;
}

export function dateText(seconds) {
  return seconds ? new Date(1000 * seconds).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) : "";
}

export function lengthText(demo) {
  return `${demo.steps} steps${demo.seconds ? `, ${demo.seconds.toFixed(1)} s` : ""}`;
}

/** Why a file cannot be shown, and what to do. */
export function filesFailure(file) {
  return element("p", {}, element("span", { className: "bad" }, file.problem), file.do ? element("span", { className: "faint" }, ` To do: ${file.do}`) : "");
}
