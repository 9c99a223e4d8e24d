// The limits of plans and organizations: how they are shown, and the form that sets them.

import { h, submits } from "./dom.js";
import { count, span } from "./format.js";

const UNITS = { s: 1, min: 60, h: 3_600, d: 86_400 };
const number = { type: "number", write: String, read: Number };
const names = { type: "text", write: (types) => types.join(", "), read: (text) => text.split(",").map((one) => one.trim()).filter(Boolean) };
const time = { type: "text", write: timeText, read: seconds };

// In the order of the forms. `none` says what holds without a value; a limit without `none` has a value always.
export const LIMITS = [
  { field: "slots", name: "Slots", kind: number, none: "no slots, so nothing starts", note: "tasks and calls that run at once" },
  { field: "queue_limit", name: "Queue limit", kind: number, usual: 100_000, note: "tasks that may wait" },
  { field: "weight", name: "Weight", kind: number, usual: 1, note: "share of the workers, relative to others" },
  { field: "rate_limit", name: "Rate limit", kind: number, none: "the server's setting", show: (value) => `${count(value)}/s`, note: "requests a second to one endpoint" },
  { field: "priority_limit", name: "Highest priority", kind: number, none: "any", note: "1 to 10" },
  { field: "task_types", name: "Task types", kind: names, none: "any", show: names.write, note: "names, separated by commas" },
  { field: "monthly_credits", name: "Monthly credits", kind: number, none: "none", note: "granted when a month begins (UTC)" },
  { field: "retention_seconds", name: "Retention", kind: time, none: "the server's setting", show: span, note: "how long ended tasks stay readable, such as 12h or 30d" },
];

export const shown = (limit, value) => (value === null || value === undefined ? limit.none ?? "–" : (limit.show ?? count)(value));

// Returns a form with a field for each limit. `save` gets the changed ones; an emptied field is null. `empty` says what that
// means, for a limit, and `before` is what stands before the limits.
export function limitsForm(values, save, { empty = (limit) => limit.none, before = [], named = {}, all = false, text = "Save" } = {}) {
  const inputs = new Map(), written = (limit) => (values[limit.field] === null || values[limit.field] === undefined ? "" : limit.kind.write(values[limit.field]));
  const fields = LIMITS.map((limit) => {
    const id = `limit-${limit.field}`, told = `${id}-note`, none = empty(limit);
    const input = h("input", { id, type: limit.kind.type, value: written(limit), "aria-describedby": told, placeholder: none ?? null });
    inputs.set(limit, input);
    return h("div", {}, h("label", { for: id }, limit.name), input, h("small", { id: told, class: "quiet" }, none ? `${limit.note}; empty: ${none}` : limit.note));
  });
  // Every wrong value is refused by the server, in words and beside its field.
  const form = h("form", { class: "limits", novalidate: true }, before, fields, h("div", { class: "row" }, h("button", { class: "primary" }, text)));
  return submits(form, () => {
    const changes = {};
    for (const [limit, input] of inputs) {
      if (input.validity.badInput) throw refusal(limit.field, "must be a number");
      const text = input.value.trim();
      if (all ? text !== "" || !limit.usual : text !== written(limit)) changes[limit.field] = text === "" ? null : limit.kind.read(text, limit.field);
    }
    return save(changes);
  }, { ...named, ...Object.fromEntries([...inputs].map(([limit, input]) => [limit.field, input])) });
}

function refusal(field, message) {
  return Object.assign(new Error(message), { places: [{ field, message }] });
}

function seconds(text, field) {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)\s*(s|min|h|d)$/.exec(text) ?? [];
  if (!unit) throw refusal(field, "must be a time such as 90s, 30min, 12h or 30d");
  return Math.round(Number(amount) * UNITS[unit]);
}

// Returns a time as the form reads it: in the largest unit that keeps it exact.
function timeText(value) {
  const [unit, size] = Object.entries(UNITS).reverse().find(([, size]) => value % size === 0);
  return `${value / size}${unit}`;
}
