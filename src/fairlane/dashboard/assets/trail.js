// What operators changed: the audit, each entry as a sentence with its details as names and values.

import { get, repeat } from "./api.js";
import { button, fill, h, notice, rowsOf } from "./dom.js";
import { count, lately, moment } from "./format.js";

const PAGE = 25;

// What was done, in words. `subject` is the name of what it was done to; an unknown action is told as it is written.
const SENTENCES = {
  "organization.created": (of) => ["created the organization ", of], "organization.changed": (of, { paused, disabled, maintenance }) => [paused === true ? "paused " : paused === false ? "resumed " : disabled === true ? "disabled " : disabled === false ? "enabled " : maintenance === true ? "began maintenance of " : maintenance === false ? "ended maintenance of " : "changed the limits of ", of],
  "organization.erasing": (of) => ["began to erase ", of], "organization.erased": (of) => ["erased ", of], "organization.repaired": (of) => ["set the counts of ", of, " to those of its rows"],
  "organization.viewed": (of) => ["saw the dashboard of ", of],
  "plan.created": (of) => ["created the plan ", of], "plan.changed": (of) => ["changed the plan ", of], "plan.deleted": (of) => ["deleted the plan ", of],
  "key.created": (of) => ["created a key of ", of], "key.revoked": (of) => ["revoked a key of ", of],
  "worker_key.created": (of) => ["created the worker key ", of], "worker_key.revoked": (of) => ["revoked the worker key ", of],
  "admin_key.created": (of) => ["created the admin key ", of], "admin_key.revoked": (of) => ["revoked the admin key ", of],
  "webhook_secret.created": (of) => ["created a webhook secret of ", of], "webhook_secret.imported": (of) => ["imported a webhook secret of ", of], "webhook_secret.revoked": (of) => ["revoked webhook secrets of ", of],
  "credits.granted": (of, { amount }) => [amount < 0 ? `took ${count(-amount)} credits from ` : `gave ${count(amount)} credits to `, of],
  "task.canceled": (of) => ["canceled a task of ", of], "worker.drained": (of) => ["drained the worker ", of],
  "bulk.begun": (of, { kind }) => [kind === "cancel" ? "began to cancel tasks of " : "began to run failed tasks again of ", of], "bulk.stopped": (of) => ["stopped a bulk of ", of],
  "maintenance.changed": (_, { on }) => [on ? "began maintenance of the whole installation" : "ended maintenance of the whole installation"],
  "backup.made": (of) => ["made the backup ", of], "database.restored": (of) => ["restored the database from ", of],
};
const ORGANIZATION = /^(organization|key|webhook_secret|credits|task)\./;
// Details that the sentence says already.
const SAID = new Set(["paused", "disabled", "maintenance", "on", "amount", "kind"]);
const NAMES = { slots_max: "slots", queue_limit: "queue limit", priority_limit: "highest priority", task_types: "task types", last4: "ends in", overlap_seconds: "overlap in seconds" };

// Shows the audit in a section, with filters and pages.
export function trail(section) {
  const subject = h("input", { id: "subject", type: "search", placeholder: "What it was done to", "aria-label": "What it was done to" });
  const action = h("select", { id: "action", "aria-label": "Action" }, h("option", { value: "" }, "every change"), Object.keys(SENTENCES).map((name) => h("option", { value: name }, name)));
  const pages = h("div", { class: "row" });
  const list = rowsOf("What operators changed, newest first", [
    { name: "When", first: true, show: (one) => h("time", { title: moment(one.at) }, lately(one.at)) },
    { name: "What", long: true, show: (one) => said(one) },
    { name: "Details", long: true, show: (one) => details(one) },
    { name: "By", long: true, show: (one) => h("span", { title: one.actor }, one.actor.replace(/ \([0-9a-f-]{36}\)$/, "")) },
  ], { empty: "No such change.", key: (one) => one.id, stack: true });
  let cursor = null, beyond = [];
  const look = async () => {
    const chosen = { limit: PAGE, ...(subject.value.trim() ? { subject: subject.value.trim() } : {}), ...(action.value ? { action: action.value } : {}), ...(cursor ? { cursor } : {}) };
    const page = await get(`/admin/v1/audit?${new URLSearchParams(chosen)}`);
    list.show(page.audit);
    fill(pages, beyond.length ? button("Newer", () => { cursor = beyond.pop(); return look(); }) : null,
      page.cursor ? button("Older", () => { beyond.push(cursor); cursor = page.cursor; return look(); }) : null);
  };
  const again = () => { cursor = null; beyond = []; look().catch((error) => notice(error.message, "bad")); };
  subject.addEventListener("change", again);
  action.addEventListener("change", again);
  fill(section, h("div", { class: "heading" }, h("h2", {}, "Audit"), h("div", { class: "row" }, subject, action)), list.element, pages);
  return repeat(5, async () => { if (!beyond.length) await look(); });
}

function said({ action, subject, details: more }) {
  const of = ORGANIZATION.test(action) && action !== "organization.erased" || action.startsWith("bulk.") && subject !== "installation" ? h("a", { class: "within", href: `#/organization/${encodeURIComponent(subject)}` }, subject) : h("b", {}, subject === "installation" ? "all organizations" : subject);
  const known = Object.hasOwn(SENTENCES, action) ? SENTENCES[action] : null;
  const told = known ? known(of, Array.isArray(more) ? {} : { paused: undefined, disabled: undefined, maintenance: undefined, amount: undefined, kind: undefined, on: undefined, ...more }) : [`${action}: `, of];
  return typeof told[0] === "string" ? [told[0][0].toUpperCase() + told[0].slice(1), ...told.slice(1)] : told;
}

function details({ action, details: more }) {
  const unset = action.startsWith("plan.") ? "none" : "that of the plan";
  const pairs = (Array.isArray(more) ? more.map((one) => [`${one.organization ? `${one.organization} ` : ""}${one.name}`, `${one.kept} → ${one.counted}`]) : Object.entries(more)).flatMap(([name, value]) => named(name, value, unset));
  return pairs.flatMap(([name, value], index) => [index ? ", " : "", h("span", { class: "quiet" }, `${name} `), name === "task" ? h("a", { class: "within", href: `#/task/${encodeURIComponent(value)}` }, value) : value]);
}

function named(name, value, unset) {
  if (SAID.has(name) || value === null && name !== "slots_max" && !name.endsWith("limit")) return [];
  const text = NAMES[name] ?? name.replaceAll("_", " ");
  if (value !== null && typeof value === "object" && !Array.isArray(value)) return Object.entries(value).flatMap(([inner, one]) => named(inner, one, unset));
  return [[text, value === null ? unset : typeof value === "boolean" ? (value ? "yes" : "no") : Array.isArray(value) ? value.join(", ") || "none" : typeof value === "number" ? count(value) : String(value)]];
}
