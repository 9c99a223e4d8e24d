// Charts as SVG, each with a sentence that is read aloud and its numbers as a table.

import { h, svg } from "./dom.js";

const HEIGHT = 190, LEFT = 48, RIGHT = 8, TOP = 8, BOTTOM = 22;
const WIDE = 720, NARROW = 340;

// series: [{ name, kind, values: [number | null] }]; kind selects its color and dashes: main, other, good or bad. times: [Date], show: number -> text, whole: only whole numbers have a line.
export function lines(title, times, series, show, { whole = false } = {}) {
  // On a phone the drawing is narrower, not smaller: its text stays readable.
  const WIDTH = innerWidth < 640 ? NARROW : WIDE;
  const present = series.flatMap((one) => one.values).filter((value) => value !== null && value !== undefined);
  const highest = Math.max(1e-9, ...present);
  const most = whole ? Math.max(2, Math.ceil(highest / 2) * 2) : highest;
  const x = (index) => LEFT + (index / Math.max(1, times.length - 1)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + (1 - value / most) * (HEIGHT - TOP - BOTTOM);
  const drawing = svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img",
    "aria-label": spoken(title, times, series, show) });
  for (const part of present.some((value) => value > 0) ? [0, 0.5, 1] : [0]) {
    const height = y(most * part);
    drawing.append(svg("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: height, y2: height }));
    const label = svg("text", { x: LEFT - 6, y: height + 4, "text-anchor": "end" });
    label.textContent = show(most * part);
    drawing.append(label);
  }
  if (times.length) {
    for (const [index, anchor] of [[0, "start"], [times.length - 1, "end"]]) {
      const label = svg("text", { x: x(index), y: HEIGHT - 6, "text-anchor": anchor });
      label.textContent = times[index].toLocaleString([], { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
      drawing.append(label);
    }
  }
  for (const one of series) drawing.append(svg("path", { class: `line ${one.kind}`, d: path(one.values, x, y) }));
  const legend = h("div", { class: "legend" }, series.map((one) => {
    const mark = svg("svg", { viewBox: "0 0 28 10", "aria-hidden": "true" }, svg("path", { class: `line ${one.kind}`, d: "M1 5H27" }));
    return h("span", {}, mark, ` ${one.name}`);
  }));
  const numbers = h("details", {}, h("summary", {}, "As a table"),
    h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Time"), series.map((one) => h("th", { scope: "col", class: "number" }, one.name)))),
      h("tbody", {}, times.map((time, index) => h("tr", {}, h("td", {}, time.toLocaleString()),
        series.map((one) => h("td", { class: "number" }, one.values[index] === null || one.values[index] === undefined ? "–" : show(one.values[index]))))))));
  return h("figure", {}, h("figcaption", {}, title), drawing, legend, numbers);
}

function path(values, x, y) {
  let drawn = "", pen = false;
  values.forEach((value, index) => {
    if (value === null || value === undefined) { pen = false; return; }
    // A value without neighbors is a line of no length, which the round cap makes a dot.
    drawn += pen ? `L${x(index).toFixed(1)} ${y(value).toFixed(1)}` : `M${x(index).toFixed(1)} ${y(value).toFixed(1)}h0`;
    pen = true;
  });
  return drawn;
}

function spoken(title, times, series, show) {
  if (!times.length) return `${title}: nothing recorded yet.`;
  const parts = series.map((one) => {
    const present = one.values.filter((value) => value !== null && value !== undefined);
    return present.length ? `${one.name} from ${show(Math.min(...present))} to ${show(Math.max(...present))}, last ${show(present.at(-1))}` : `${one.name}: no values`;
  });
  return `${title}, ${times[0].toLocaleString()} to ${times.at(-1).toLocaleString()}: ${parts.join("; ")}.`;
}
