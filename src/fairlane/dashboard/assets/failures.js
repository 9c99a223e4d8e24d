// What failed and why: groups of failures with the same cause, for an organization and for operators; and one of them.

import { get, getText, repeat } from "./api.js";
import { bulk } from "./bulk.js";
import { chart } from "./chart.js";
import { badge, facts, fill, h, rowsOf, set, svg } from "./dom.js";
import { clock, count, lately, moment, several, share, span } from "./format.js";
import { remember } from "./organizations.js";
import { ENDINGS } from "./timeline.js";
import { valued } from "./value.js";

const HOUR = 3_600_000;
const SPANS = { 24: "the last day", 168: "the last seven days", 336: "the last 14 days" };
const BARS = 28, BAR = 4, HEIGHT = 22;
const CAUSES_SHOWN = 4, CAUSES_SECONDS = 4;

// The groups of both APIs, with the same names.
async function groups(operator, hours) {
  const since = new Date(Date.now() - hours * HOUR).toISOString();
  if (operator) {
    const found = await get(`/admin/v1/failures?since=${since}&limit=200`);
    return { more: found.more, from: found.complete_from, all: found.failures.map((one) => ({ ...one, type: one.task_type, message: one.sample?.message ?? null, task: one.sample?.task ?? null, owner: one.sample?.organization ?? null,
      cause: one.sample?.cause ?? null, firstAt: one.first_at, lastAt: one.last_at, hours: [...one.hours] })) };
  }
  const found = await get(`/v1/async/failures?since=${since}&limit=200`);
  return { more: found.more, from: null, all: found.failures.map((one) => ({ ...one, type: one.taskType, task: one.sampleTaskId, firstAt: Date.parse(one.firstAt), lastAt: Date.parse(one.lastAt),
    hours: one.hours.map((hour) => ({ at: Date.parse(hour.at), failures: hour.failures, retried: hour.retried })) })) };
}

// What a group has in common, in one line.
function causeOf(operator, one) {
  if (one.type === null) return "failures that were not told apart";
  // What did not fail by itself says how it ended: the code is the same for all of these.
  if (one.ending !== "FAILED" && ENDINGS[one.ending] && !one.exception) return `${operator ? "" : `${one.code ?? one.ending}: `}the attempt ${ENDINGS[one.ending]}${operator ? where(one) : ""}`;
  if (!operator || !one.exception) return `${one.code ?? one.ending}${one.message ? `: ${one.message}` : ""}`;
  return `${one.exception}${where(one)}`;
}

const where = ({ place, line }) => (place ? ` in ${place}${line ? `, line ${line}` : ""}` : "");

const page = (operator) => (content, { rest: [chosen], query }) => (chosen ? group(content, operator, chosen) : list(content, operator, query));
export const failures = page(false);
export const allFailures = page(true);

// The causes of most failures since the hour before this one, for the operators' first page. It asks only while something failed.
export function causes() {
  let some = false, all = [];
  const from = () => Math.floor(Date.now() / HOUR - 1) * HOUR, told = h("small");
  const shown = rowsOf("Failures by cause", [
    { name: "Type and cause", long: true, first: true, show: (one) => [h("a", { class: "within", href: `#/failures/${one.group}` }, one.type ?? "other"), h("div", { class: "quiet" }, causeOf(true, one))] },
    { name: "Last day", show: (one) => spark(one.hours, 24) },
    { name: "Tasks failed", number: true, show: (one) => h("b", { class: "bad" }, count(recent(one))) },
    { name: "Organizations", number: true, show: (one) => count(one.organizations) },
    { name: "", show: (one) => (one.task ? h("a", { class: "whole", href: `#/task/${one.task}` }, "Look at one") : "") },
  ], { empty: "Nothing failed.", key: (one) => one.group, stack: true, named: false });
  const recent = (one) => one.hours.reduce((sum, { at, failures: failed }) => sum + (at >= from() ? failed : 0), 0);
  const element = h("section", {}, h("div", { class: "heading" }, h("h2", {}, "Failures by cause ", told), h("div", { class: "row" }, h("a", { href: "#/failures" }, "All failures"))), shown.element);
  const look = async () => {
    set(told, [`since ${clock(from())}`]);
    all = some ? (await groups(true, 24)).all.filter(recent).sort((left, right) => recent(right) - recent(left)) : [];
    shown.show(all.slice(0, CAUSES_SHOWN));
  };
  const leave = repeat(CAUSES_SECONDS, look);
  // What most failures have in common, as a part of a sentence with the way to it.
  const most = () => {
    if (!all.length) return null;
    const sum = all.reduce((number, one) => number + recent(one), 0);
    return [`${share(recent(all[0]) / sum)} are `, h("a", { class: "within", href: `#/failures/${all[0].group}` }, `${all[0].type ?? "other"}: ${causeOf(true, all[0])}`), `, of ${several(all[0].organizations, "organization")}.`];
  };
  return { element, leave, most, failed(number) {
    if (some === number > 0) return;
    some = number > 0;
    look().catch(() => {});
  } };
}

function list(content, operator, query) {
  const during = h("select", { id: "during", "aria-label": "During" }, Object.entries(SPANS).map(([value, name]) => h("option", { value }, name)));
  during.value = SPANS[query.get("hours")] ? query.get("hours") : "24";
  const told = h("span", { class: "quiet" }), left = h("p", { class: "warn", hidden: true });
  const shown = rowsOf("Groups of failures, those with most failures first", [
    { name: "Type and cause", long: true, first: true, show: (one) => [h("a", { class: "within", href: `#/failures/${one.group}` }, one.type ?? "other"), h("div", { class: "quiet" }, causeOf(operator, one))] },
    { name: "Over time", show: (one) => spark(one.hours, Number(during.value)) },
    { name: "Tasks failed", number: true, show: (one) => h("b", { class: one.failures ? "bad" : null }, count(one.failures)) },
    { name: "Attempts tried again", number: true, show: (one) => count(one.retried) },
    operator ? { name: "Organizations", number: true, show: (one) => count(one.organizations) } : null,
    { name: "Last", number: true, show: (one) => lately(one.lastAt) },
    { name: "", show: (one) => (one.task ? h("a", { href: `#/task/${one.task}` }, "Look at one") : "") },
  ].filter(Boolean), { empty: "Nothing failed in this time.", key: (one) => one.group, stack: true, named: false });
  fill(content, h("div", { class: "heading" }, h("h1", {}, "Failures"), told, h("div", { class: "row" }, during)), h("section", {}, shown.element),
    left, h("p", { class: "quiet" }, "Failures with the same type, code, exception and place in the application are one group. Counts are kept by the hour for 14 days."));
  const look = async () => {
    remember("failures", { hours: during.value === "24" ? "" : during.value });
    const { all, more, from } = await groups(operator, Number(during.value)), causing = all.filter((one) => one.failures).length;
    all.sort((left, right) => right.failures - left.failures || right.retried - left.retried);
    const failed = all.reduce((sum, one) => sum + one.failures, 0);
    told.textContent = `${several(failed, "task")} failed in ${SPANS[during.value]}${failed ? `, with ${more ? "more than " : ""}${several(causing, "cause")}` : ""}`;
    left.hidden = !more && from === null;
    left.textContent = [more ? `Shown are the ${count(all.length)} causes with most failures; the others are left out.` : "", from === null ? "" : `Failures before ${moment(from)} are left out: there are more than 50,000 counts of organizations, causes and hours.`].filter(Boolean).join(" ");
    shown.show(all);
  };
  during.addEventListener("change", () => { look().catch(() => {}); });
  return repeat(4, look);
}

function group(content, operator, chosen) {
  const heading = h("h1", {}, "Failures"), cause = h("p", { class: "long" }), summary = h("section"), sample = h("section");
  let type = null;
  const hourly = chart("Failures", { note: "in each hour", live: true, series: [{ name: "tasks that failed", kind: "bad", fill: true }, { name: "attempts tried again", kind: "quiet" }] });
  const again = bulk(operator, { kinds: ["retry"], chosen: () => ({ group: chosen }), seen: () => (type ? `#/tasks?type=${encodeURIComponent(type)}&during=1` : null) });
  // What has failed is over; what waits would fail next.
  const tasks = h("p", {}, h("a", { href: `#/tasks?status=FAILED&group=${encodeURIComponent(chosen)}` }, operator ? "Its failed tasks, and their organizations" : "Its failed tasks"));
  const waiting = bulk(operator, { kinds: ["cancel"], names: { cancel: "Cancel what waits of this type…" }, chosen: () => ({ type, status: "QUEUED" }), owner: () => ` of the type ${type}` });
  const acts = h("div", { class: "row" }, again.buttons, waiting.buttons);
  fill(content, h("p", { class: "quiet" }, h("a", { href: "#/failures" }, "Failures"), " › ", chosen), h("div", { class: "heading" }, heading, acts), cause, tasks, again.told, waiting.told,
    h("div", { class: "charts" }, hourly.element), h("div", { class: "two" }, summary, sample));
  // The attempts and the payload of the sample, by its task: read once, so that what a reader unfolded stays.
  const given = new Map();
  const stop = repeat(4, async () => {
    const { all } = await groups(operator, 168), one = all.find(({ group: name }) => name === chosen);
    if (!one) { set(cause, ["Nothing of this group failed in the last seven days."]); return; }
    heading.textContent = one.type ?? "Other failures";
    ({ type } = one);
    again.buttons[0].hidden = !one.failures;
    waiting.buttons[0].hidden = !type;
    set(cause, [causeOf(operator, one)]);
    set(summary, [h("h2", {}, "What they have in common"), facts([
      ["How they ended", one.ending ? badge(one.ending) : null], ["Code", one.code ? h("code", {}, one.code) : null],
      ...(operator ? [["Exception", one.exception], ["Place", one.place ? h("code", {}, `${one.place}${one.line ? `:${one.line}` : ""}`) : null], ["Organizations", count(one.organizations)]] : []),
      ["Tasks failed", count(one.failures)], ["Attempts tried again", count(one.retried)], ["First", moment(one.firstAt)], ["Last", moment(one.lastAt)],
    ])]);
    if (operator && one.task && !given.has(one.task)) {
      given.clear();
      const path = `/admin/v1/tasks/${one.task}`, [tried, sent] = await Promise.all([get(`${path}/attempts`), getText(`${path}/payload`)].map((read) => read.catch(() => null)));
      given.set(one.task, [...(tried ? [h("h3", {}, "Its attempts"), attempted(tried.attempts)] : []), ...(sent === null ? [] : [h("h3", {}, "Its payload"), ...valued(sent, "Payload")])]);
    }
    set(sample, one.task ? [h("h2", {}, "The newest of them"), facts([["Task", h("a", { class: "long", href: `#/task/${one.task}` }, one.task)], ...(operator ? [["Organization", h("a", { href: `#/organization/${encodeURIComponent(one.owner)}` }, one.owner)]] : []), ["Message", one.message]]),
      operator && one.cause ? h("pre", { tabindex: 0, "aria-label": "Cause" }, one.cause) : h("span"), ...given.get(one.task) ?? []] : [h("h2", {}, "The newest of them"), h("p", { class: "quiet" }, "That task is no longer kept.")]);
    const last = Math.floor(Date.now() / HOUR), hours = Array.from({ length: 24 }, (_, index) => (last - 23 + index) * HOUR), by = new Map(one.hours.map((hour) => [hour.at, hour]));
    hourly.show({ times: hours, step: HOUR, until: Date.now(), values: [hours.map((at) => by.get(at)?.failures ?? 0), hours.map((at) => by.get(at)?.retried ?? 0)] });
  });
  return () => { stop(); again.leave(); waiting.leave(); };
}

// Returns the attempts at a task as a table.
function attempted(attempts) {
  const list = rowsOf("In the order of their starts", [
    { name: "Attempt", number: true, show: (one) => String(one.number) }, { name: "How it ended", show: (one) => (one.ending ? badge(one.ending) : "it runs") },
    { name: "Started", named: true, show: (one) => lately(one.started_at) }, { name: "Took", number: true, show: (one) => (one.ended_at === null ? "–" : span((one.ended_at - one.started_at) / 1000)) },
    { name: "Worker", long: true, named: true, show: (one) => one.worker ?? "–" },
  ], { empty: "No attempt is kept.", key: (one) => one.number, stack: true });
  list.show(attempts);
  return list.element;
}

// Failures over a span as small bars, the newest at the right.
function spark(hours, during) {
  const step = Math.ceil(during / BARS), last = Math.floor(Date.now() / HOUR), bars = Array.from({ length: Math.ceil(during / step) }, () => 0);
  for (const { at, failures: failed, retried } of hours) {
    const index = bars.length - 1 - Math.floor((last - at / HOUR) / step);
    if (index >= 0) bars[index] += failed + retried;
  }
  const highest = Math.max(1, ...bars);
  return svg("svg", { class: "spark", viewBox: `0 0 ${bars.length * BAR} ${HEIGHT}`, width: bars.length * BAR, height: HEIGHT, role: "img", "aria-label": `${bars.filter(Boolean).length} of ${bars.length} spans of ${step === 1 ? "an hour" : `${step} hours`} had failures, at most ${count(highest)}` },
    ...bars.map((value, index) => svg("rect", { x: index * BAR, width: BAR - 1, y: value ? HEIGHT - Math.max(2, value / highest * HEIGHT) : HEIGHT - 1, height: value ? Math.max(2, value / highest * HEIGHT) : 1, class: value ? "bad" : "none" })));
}
