// A JSON value as people read it: folded, colored by kind, and copied as it was sent. Binary data is named, not shown.

import { copies, h } from "./dom.js";
import { bytes, count, several } from "./format.js";

const ENTRIES_SHOWN = 50, OPEN_MOST = 60, STRING_SHOWN = 400, STRING_MOST = 50_000, BINARY_LEAST = 100, PROBED = 4_000;
const BASE64 = /^(data:[\w.+/-]+;base64,)?[A-Za-z0-9+/_-]+={0,2}$/, CONTROL = /[\0-\x08\x0e-\x1f]/;
const FORMATS = { "JVBERi": "PDF", "iVBORw": "PNG", "/9j/": "JPEG", "R0lGOD": "GIF", "UEsDB": "ZIP", "H4sI": "gzip", "UklGR": "RIFF", "SUQz": "MP3" };

// Returns the parts that show a JSON text, named for readers of the screen.
export function valued(text, name) {
  const shown = h("div", { class: "value", tabindex: 0, role: "group", "aria-label": name });
  shown.append(part("", read(text), { left: OPEN_MOST }, 0));
  return [h("div", { class: "row quiet" }, bytes(new TextEncoder().encode(text).length), copies(shown, text)), shown];
}

// A number that JavaScript cannot hold exactly is shown as it is written.
class Exact { constructor(written) { this.written = written; } }
const read = (text) => JSON.parse(text, (_, value, context) => (typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value) && context?.source ? new Exact(context.source) : value));

const named = (name) => (name === "" ? [] : [h("span", { class: "key" }, JSON.stringify(name)), ": "]);

// `budget.left`: how many more entries are open at first. What is folded is made when it is opened.
function part(name, value, budget, depth) {
  if (value === null || typeof value !== "object" || value instanceof Exact) return h("div", {}, named(name), scalar(value));
  const list = Array.isArray(value), entries = list ? value.map((one) => ["", one]) : Object.entries(value);
  if (!entries.length) return h("div", {}, named(name), list ? "[]" : "{}");
  const inner = h("div", { class: "inner" }), opened = depth === 0 || (entries.length <= budget.left && depth < 6);
  const more = () => {
    const from = inner.childElementCount;
    inner.append(...entries.slice(from, from + ENTRIES_SHOWN).map(([key, one]) => part(key, one, budget, depth + 1)));
    const left = entries.length - from - ENTRIES_SHOWN;
    if (left > 0) inner.after(further(left, more));
  };
  const element = h("details", { open: opened }, h("summary", {}, named(name), h("span", { class: "quiet" }, list ? `[ ${several(entries.length, "item")} ]` : `{ ${several(entries.length, "field")} }`)), inner);
  if (opened) { budget.left -= entries.length; more(); }
  else element.addEventListener("toggle", () => { if (!inner.firstChild) more(); });
  return element;
}

function further(left, more) {
  const made = h("button", { type: "button" }, `Show more of the ${count(left)} that follow`);
  made.addEventListener("click", () => { made.remove(); more(); });
  return made;
}

function scalar(value) {
  if (value instanceof Exact) return h("span", { class: "number" }, value.written);
  if (typeof value !== "string") return h("span", { class: typeof value === "number" ? "number" : "literal" }, String(value));
  const binary = binaryName(value);
  if (binary) return h("span", { class: "quiet" }, binary);
  const text = JSON.stringify(value);
  if (value.length <= STRING_SHOWN) return h("span", { class: "text" }, text);
  const rest = h("button", { type: "button" }, `Show all ${count(value.length)} characters`), shown = h("span", { class: "text" }, `${text.slice(0, STRING_SHOWN)}…`);
  rest.addEventListener("click", () => { shown.textContent = value.length > STRING_MOST ? `${text.slice(0, STRING_MOST)}… (the rest is in the copy)` : text; rest.remove(); });
  return h("span", {}, shown, " ", rest);
}

// Returns what a string of binary data is, or an empty text for one that people can read.
function binaryName(value) {
  const probed = value.slice(0, PROBED);
  if (value.length < BINARY_LEAST) return CONTROL.test(probed) ? `${several(value.length, "character")} of binary data` : "";
  if (BASE64.test(probed) && /\d/.test(probed) && /[A-Z]/.test(probed) && /[a-z]/.test(probed)) {
    const body = probed.startsWith("data:") ? probed.slice(probed.indexOf(",") + 1) : probed, format = Object.entries(FORMATS).find(([begins]) => body.startsWith(begins));
    return `${count(value.length)} characters of base64${format ? ` (${format[1]})` : ""}`;
  }
  return CONTROL.test(probed) ? `${count(value.length)} characters of binary data` : "";
}
