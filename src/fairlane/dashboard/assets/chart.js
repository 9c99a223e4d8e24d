// Charts as SVG over a time axis. All charts of a page share one cursor, and each has its numbers as a table.

import { h, svg } from "./dom.js";
import { clock, count, day, moment, perSecond, span } from "./format.js";

const HEIGHT = 148, LEFT = 46, RIGHT = 8, TOP = 12, BOTTOM = 20;
const TICK_WIDTH = 76;
const MINUTE = 60_000, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10_080].map((minutes) => minutes * MINUTE);
const SECOND_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 36_000, 86_400];
// A value this many times above what 95 of 100 values do not exceed is cut off, so that one burst does not flatten the rest.
// What the newest steps have is never cut off: it may be no burst, and it is what a reader came for.
const BURST = 4, POINTS_LEAST = 12, NEWEST = 3;

// How a kind of value is divided into steps and written.
export const COUNT = { step: (rough) => Math.max(1, decimal(rough)), show: count, label: short };
export const RATE = { step: decimal, show: perSecond, label: short };
export const SECONDS = { step: (rough) => (rough < 1 ? decimal(rough) : SECOND_STEPS.find((one) => one >= rough) ?? decimal(rough / 86_400) * 86_400), show: span, label: span };

// The moment under the cursor, in milliseconds, or null; and the charts that show it.
let cursor = null;
const drawn = new Set();

// Returns a chart without values. series: [{ name, kind, fill }]; kind selects the color and the dashes: main, other, good, bad or quiet.
// `live`: the value of the running step is worth reading, because it is a rate, a state or what a reader came for.
export function chart(title, { note = "", unit = COUNT, series, live = false }) {
  const drawing = svg("svg", { class: "chart", role: "img", tabindex: 0, "aria-label": `${title}: nothing recorded yet.` });
  const when = h("time"), values = series.map(() => h("b")), read = h("span", { class: "unseen", role: "status" });
  const legend = h("div", { class: "legend" }, series.map((one, index) => h("span", {},
    svg("svg", { viewBox: "0 0 24 8", "aria-hidden": "true" }, svg("path", { class: `line ${one.kind}`, d: "M1 4H23" })), `${one.name} `, values[index])));
  const numbers = h("div", { class: "scrolls" }), details = h("details", {}, h("summary", {}, "As a table"), numbers);
  const element = h("figure", {}, h("figcaption", {}, h("strong", {}, title), note ? h("span", {}, note) : null, when), drawing, legend, read, details);
  const state = { title, unit, series, data: null, width: 0, pointer: null };

  const point = () => {
    const { data } = state;
    if (!data?.times.length) return;
    const known = (index) => data.values.some((one) => (one[index] ?? null) !== null);
    const under = cursor !== null && cursor >= data.times[0] && cursor <= data.until;
    // Without a cursor the newest step is shown; the running one only where it says something already.
    const last = data.times.length - 1, whole = Math.max(0, unfinished(data) && !(live && known(last)) ? last - 1 : last);
    const index = under ? nearest(data, cursor) : known(whole) ? whole : last;
    when.textContent = under ? at(data.times[index], data.step) : "";
    values.forEach((place, number) => { place.textContent = written(data.values[number][index], unit); });
    state.pointer?.setAttribute("visibility", under ? "visible" : "hidden");
    if (under) {
      const x = across(data, state.width)(data.times[index] + data.step / 2);
      state.pointer?.setAttribute("x1", x);
      state.pointer?.setAttribute("x2", x);
    }
  };
  const draw = () => {
    if (!state.data || !state.width) return;
    paint(drawing, state);
    point();
  };
  const moved = (event) => {
    if (!state.data?.times.length) return;
    const { left, width } = drawing.getBoundingClientRect(), { times, until } = state.data;
    const part = ((event.clientX - left) / width * state.width - LEFT) / (state.width - LEFT - RIGHT);
    move(times[0] + Math.min(1, Math.max(0, part)) * (until - times[0]));
  };
  drawing.addEventListener("pointermove", moved);
  drawing.addEventListener("pointerdown", moved);
  drawing.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") move(null); });
  drawing.addEventListener("keydown", (event) => {
    const { data } = state;
    if (!data?.times.length) return;
    const last = data.times.length - 1, here = cursor === null ? last : nearest(data, cursor);
    const next = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: last }[event.key];
    if (event.key === "Escape") move(null);
    if (next === undefined) return;
    event.preventDefault();
    const index = Math.min(last, Math.max(0, next));
    move(data.times[index] + data.step / 2);
    read.textContent = `${at(data.times[index], data.step)}: ${series.map((one, number) => `${one.name} ${written(data.values[number][index], unit)}`).join(", ")}`;
  });
  details.addEventListener("toggle", () => list(numbers, details.open, state));
  new ResizeObserver(([entry]) => {
    const width = Math.round(entry.contentRect.width);
    if (width && width !== state.width) { state.width = width; draw(); }
  }).observe(drawing);
  const one = { point, element };
  drawn.add(one);
  return {
    element,
    // times: starts of steps, in milliseconds; step: their length; until: the end of what is known; values: for each
    // series a number or null for each step. Null is a gap.
    show(data) {
      drawn.add(one);
      const before = state.data;
      state.data = data;
      // At rest nothing is drawn again: only the end of the running step moves on.
      if (before && same(before, data)) return;
      drawing.setAttribute("aria-label", spoken(state));
      draw();
      list(numbers, details.open, state);
    },
  };
}

const same = (before, now) => before.step === now.step && before.times.length === now.times.length && before.times[0] === now.times[0] && unfinished(before) === unfinished(now)
  && before.values.every((one, number) => one.every((value, index) => value === now.values[number][index]));

function move(moment) {
  cursor = moment;
  for (const one of drawn) {
    if (one.element.isConnected) one.point();
    else drawn.delete(one);
  }
}

const nearest = ({ times, step }, moment) => Math.min(times.length - 1, Math.max(0, Math.floor((moment - times[0]) / step)));
const unfinished = ({ times, step, until }) => times.length > 0 && times.at(-1) + step > until;
const across = ({ times, step }, width) => (moment) => LEFT + (moment - times[0]) / (times.at(-1) + step - times[0]) * (width - LEFT - RIGHT);
const written = (value, unit) => (value === null || value === undefined ? "–" : unit.show(value));
const at = (time, step) => (step >= DAY ? day(time) : step >= HOUR ? `${day(time)}, ${clock(time)}` : clock(time));

function paint(drawing, state) {
  const { data, width, unit, series } = state, { times, step } = data;
  drawing.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  const x = across(data, width), { top, lines, cut } = scale(data.values, unit);
  const y = (value) => TOP + (1 - Math.min(value, top) / top) * (HEIGHT - TOP - BOTTOM);
  const parts = [];
  for (const value of lines) {
    parts.push(svg("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }), text(LEFT - 6, y(value) + 4, "end", unit.label(value)));
  }
  if (times.length) {
    for (const tick of ticks(times[0], times.at(-1) + step, (width - LEFT - RIGHT) / TICK_WIDTH)) {
      parts.push(svg("line", { class: "tick", x1: x(tick.at), x2: x(tick.at), y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 4 }),
        text(Math.min(Math.max(x(tick.at), LEFT), width - RIGHT), HEIGHT - 4, x(tick.at) > width - 24 ? "end" : "middle", tick.label));
    }
    const open = unfinished(data), middle = (index) => x(times[index] + step / 2);
    // The running step is not over: its ground is marked, and the line to it is dotted.
    if (open) parts.push(svg("rect", { class: "unfinished", x: x(times.at(-1)), y: TOP, width: Math.max(0, width - RIGHT - x(times.at(-1))), height: HEIGHT - TOP - BOTTOM }));
    series.forEach((one, number) => {
      const whole = open ? data.values[number].slice(0, -1) : data.values[number];
      if (one.fill) parts.push(svg("path", { class: `area ${one.kind}`, d: area(whole, middle, y) }));
      parts.push(svg("path", { class: `line ${one.kind}`, d: path(whole, middle, y) }));
      if (open) parts.push(svg("path", { class: `line ${one.kind} open`, d: path(data.values[number].slice(-2), (index) => middle(times.length - Math.min(2, times.length) + index), y) }));
    });
    if (cut) parts.push(...marks(data, top, middle, unit, width));
  }
  state.pointer = svg("line", { class: "cursor", x1: 0, x2: 0, y1: TOP - 6, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  drawing.replaceChildren(...parts, state.pointer);
}

// A triangle above each value that the scale cuts off, and the highest of them in numbers.
function marks(data, top, middle, unit, width) {
  const above = data.times.flatMap((_, index) => {
    const value = Math.max(...data.values.map((one) => one[index] ?? 0));
    return value > top ? [{ index, value }] : [];
  });
  const highest = above.reduce((one, other) => (other.value > one.value ? other : one));
  const right = middle(highest.index) > width - 90;
  return [...above.map(({ index }) => svg("path", { class: "cut", d: `M${(middle(index) - 4).toFixed(1)} ${TOP - 1}l4 -7l4 7z` })),
    text(middle(highest.index) + (right ? -8 : 8), TOP - 2, right ? "end" : "start", `up to ${unit.show(highest.value)}`)];
}

// The top of the axis and its lines. A short burst does not set the scale: it is cut off.
function scale(values, unit) {
  const present = values.map((one) => one.filter((value) => value !== null && value !== undefined)).filter((one) => one.length);
  const highest = Math.max(0, ...present.flat());
  const usual = Math.max(0, ...present.map((one) => one.toSorted((left, right) => left - right)[Math.floor((one.length - 1) * 0.95)]));
  const newest = Math.max(0, ...present.flatMap((one) => one.slice(-NEWEST)));
  const cut = usual > 0 && highest > BURST * usual && newest <= usual * 1.5 && present.some((one) => one.length >= POINTS_LEAST);
  const most = cut ? usual * 1.5 : highest;
  const step = unit.step((most || 1) / 3), lines = [];
  for (let value = 0; lines.length < 2 || lines.at(-1) < most * 0.999; value = lines.length * step) lines.push(value);
  return { top: lines.at(-1), lines, cut: cut && highest > lines.at(-1) };
}

// A step of 1, 2 or 5 times a power of ten that is not below this.
function decimal(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].find((one) => one * power >= rough * 0.999) * power;
}

function short(value) {
  if (value >= 10_000) return `${count(Math.round(value / 100) / 10)}k`;
  return value >= 10 || Number.isInteger(value) ? count(value) : String(Number(value.toPrecision(2)));
}

// Moments of the reader's own clock at which the axis has a label, and the labels.
function ticks(from, to, most) {
  const step = TIME_STEPS.find((one) => (to - from) / one <= most) ?? TIME_STEPS.at(-1);
  const shift = new Date(from).getTimezoneOffset() * MINUTE;
  const found = [];
  for (let tick = Math.ceil((from - shift) / step) * step + shift; tick <= to; tick += step) {
    const midnight = new Date(tick).getHours() === 0 && new Date(tick).getMinutes() === 0;
    found.push({ at: tick, label: step >= DAY || midnight ? day(tick) : clock(tick) });
  }
  return found;
}

function text(x, y, anchor, label) {
  const element = svg("text", { x: x.toFixed(1), y: y.toFixed(1), "text-anchor": anchor });
  element.textContent = label;
  return element;
}

function path(values, x, y) {
  let line = "", pen = false;
  values.forEach((value, index) => {
    if (value === null || value === undefined) { pen = false; return; }
    // A value without neighbors is a short line, which the round cap makes a mark that is seen.
    const point = `${x(index).toFixed(1)} ${y(value).toFixed(1)}`, alone = (values[index + 1] ?? null) === null;
    line += pen ? `L${point}` : `M${point}${alone ? "m-2 0h4" : ""}`;
    pen = true;
  });
  return line;
}

// The ground below a line, for each part of it between two gaps.
function area(values, x, y) {
  let ground = "", begun = null;
  const close = (index) => { if (begun !== null) ground += `L${x(index).toFixed(1)} ${y(0)}L${x(begun).toFixed(1)} ${y(0)}Z`; begun = null; };
  values.forEach((value, index) => {
    if (value === null || value === undefined) { close(index - 1); return; }
    ground += `${begun === null ? "M" : "L"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
    begun ??= index;
  });
  close(values.length - 1);
  return ground;
}

function spoken({ title, unit, series, data }) {
  if (!data.times.length) return `${title}: nothing recorded yet.`;
  const parts = series.map((one, number) => {
    const present = data.values[number].filter((value) => value !== null && value !== undefined);
    return present.length ? `${one.name} from ${unit.show(Math.min(...present))} to ${unit.show(Math.max(...present))}, last ${unit.show(present.at(-1))}` : `${one.name}: no values`;
  });
  return `${title}, ${moment(data.times[0])} to ${moment(data.until)}: ${parts.join("; ")}.`;
}

// The numbers are only written while they are shown.
function list(place, open, { data, unit, series }) {
  if (!open || !data) { place.replaceChildren(); return; }
  const rows = data.times.map((time, index) => h("tr", {}, h("td", {}, moment(time), index === data.times.length - 1 && unfinished(data) ? " (unfinished)" : ""),
    series.map((_, number) => h("td", { class: "number" }, written(data.values[number][index], unit)))));
  place.replaceChildren(h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "From"), series.map((one) => h("th", { scope: "col", class: "number" }, one.name)))),
    h("tbody", {}, rows.reverse())));
}
