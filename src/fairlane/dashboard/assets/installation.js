// The operator's first page: what is wrong and since when, the numbers of now, the last hour, and the busiest lanes.

import { get, repeat } from "./api.js";
import { chart, RATE, SECONDS } from "./chart.js";
import { badge, card, fill, h, rowsOf, set } from "./dom.js";
import { causes } from "./failures.js";
import { clock, count, day, perSecond, several, share, since, span } from "./format.js";
import { lanes } from "./lanes.js";

const LANES_SHOWN = 8;
const LOOK_SECONDS = 2;
const WORKERS_SHOWN = 6, WORKERS_SECONDS = 5;
const PLACES = {
  failures_rising: ["#/failures", "See what failed and why"], type_unserved: ["#/types", "Types and their workers"], no_workers: ["#/workers", "Workers"],
  workers_failing: ["#/workers", "Workers"], drift: ["#/upkeep", "Upkeep"], maintenance: ["#/upkeep", "Upkeep"], deliveries_late: ["#/deliveries", "Which hosts, and what holds their messages"],
};

export function installation(content) {
  const health = h("ul", { class: "health", "aria-live": "polite", "aria-label": "Health" }), said = { away: null };
  const queued = card("Queued"), running = card("Running"), started = card("Started"), completed = card("Completed"), failed = card("Failed"), waits = card("Wait before the start");
  const queue = chart("Queue", { note: "tasks that wait", live: true, series: [{ name: "queued", kind: "main", fill: true }] });
  const flow = chart("Flow", { note: "each second", live: true, unit: RATE, series: [{ name: "started", kind: "main" }, { name: "completed", kind: "good" }, { name: "failed", kind: "bad" }] });
  const wait = chart("Wait before the start", { live: true, unit: SECONDS, series: [{ name: "median (p50)", kind: "main" }, { name: "p99", kind: "other" }] });
  const slots = chart("Slots and places", { live: true, series: [{ name: "slots in use", kind: "main", fill: true }, { name: "places of workers", kind: "quiet" }] });
  const board = h("section"), why = causes(), working = workers();
  const cards = [queued, running, started, completed, failed, waits];
  fill(content, h("h1", { class: "unseen" }, "Overview"), health, h("div", { class: "cards" }, cards.map((one) => one.element)),
    h("div", { class: "charts" }, queue.element, flow.element, wait.element, slots.element), board, h("div", { class: "pair" }, why.element, working.element));
  set(health, [h("li", {}, "Looking…")]);
  const leave = lanes(board, { most: LANES_SHOWN });
  const stop = repeat(LOOK_SECONDS, async () => {
    let now;
    try { now = await get("/admin/v1/overview"); } catch (error) {
      if (error.status !== 503) throw error;
      said.away ??= Date.now();
      set(health, [trouble({ grade: "problem", message: "The database does not answer", since: said.away, advice: "Requests are refused until it does. The server connects again by itself.", kind: "" })]);
      return;
    }
    said.away = null;
    set(health, now.troubles.length ? now.troubles.map((one) => trouble(one, one.kind === "failures_rising" ? why.most() : null)) : [h("li", {}, h("strong", {}, "All is well"), h("span", { class: "quiet" },
      `${several(now.total.organizations, "organization")}, ${several(now.workers, "worker")} with ${several(now.places, "place")}; nothing is stuck, and every count is exact.`))]);
    const rate = (of) => sliding(now.minutes, of), hour = now.minutes.reduce((sum, one) => sum + (one.failed ?? 0), 0), last = now.minutes.at(-1).wait_p50_ms === null ? now.minutes.at(-2) : now.minutes.at(-1);
    queued.show(list("QUEUED", count(now.total.queued)), now.oldest_ready_ms === null ? "none can start" : `the oldest waits ${span(now.oldest_ready_ms / 1000)}`);
    running.show(list("PROCESSING", [count(now.total.used), h("small", {}, ` of ${several(now.slots_max, "slot")}`)]), now.workers ? `${count(now.places_used)} of ${several(now.places, "place")} taken` : "no worker is connected");
    started.show(perSecond(rate((one) => one.started)), "over the last minute");
    completed.show(list("COMPLETED", perSecond(rate((one) => one.completed)), 1), `${count(now.total.completed)} in all`);
    const failing = rate((one) => one.failed);
    why.failed(hour);
    failed.show(list("FAILED", perSecond(failing), 1, failing ? "bad" : ""), hour ? `${count(hour)} in the last hour` : "none in the last hour", hour ? "bad" : "");
    waits.show(last?.wait_p50_ms === null || !last ? "–" : [span(last.wait_p50_ms / 1000), h("small", {}, " median")], last?.wait_p99_ms ? `p99 ${span(last.wait_p99_ms / 1000)}` : "nothing started");
    const data = (...values) => ({ times: now.minutes.map((one) => one.start), step: 60_000, until: now.at, values: values.map((of) => now.minutes.map(of)) });
    const second = (of) => (one) => (of(one) === null ? null : of(one) / one.seconds), seconds = (of) => (one) => (of(one) === null ? null : of(one) / 1000);
    queue.show(data((one) => one.queued));
    flow.show(data(second((one) => one.started), second((one) => one.completed), second((one) => one.failed)));
    wait.show(data(seconds((one) => one.wait_p50_ms), seconds((one) => one.wait_p99_ms)));
    slots.show(data((one) => one.used, (one) => one.places));
  });
  return () => { stop(); leave(); why.leave(); working.leave(); };
}

// Returns a number with the way to its tasks, of any time or of the last hours.
const list = (status, shown, hours = "", kind = "") => h("a", { class: `plain ${kind}`.trim(), href: `#/tasks?status=${status}${hours && `&during=${hours}`}` }, shown);

// How many a second over the last sixty seconds: all of the minute that is not over, and the rest from the one before it.
function sliding(minutes, of) {
  const now = minutes.at(-1), before = minutes.at(-2);
  return ((of(now) ?? 0) + (of(before) ?? 0) * Math.max(0, 1 - now.seconds / 60)) / 60;
}

// `most`: what most failures have in common, with the way to it, or null.
function trouble(one, most = null) {
  const [address, text] = PLACES[one.kind] ?? [];
  return h("li", { class: one.grade }, h("strong", {}, one.message), h("span", {}, one.since ? `Since ${when(one.since)}. ` : "", one.advice, most ? [" ", ...most] : ""),
    address ? h("span", { class: "row" }, h("a", { class: "button plain", href: address }, text)) : null);
}

const when = (moment) => (new Date(moment).toDateString() === new Date().toDateString() ? clock(moment) : `${day(moment)}, ${clock(moment)}`);

// The worker processes, those with most tasks first.
function workers() {
  const told = h("small"), list = rowsOf("Workers", [
    { name: "Worker", long: true, first: true, show: (one) => one.name },
    { name: "Places taken", show: (one) => h("progress", { max: one.places, value: one.leases, "aria-label": `Places of ${one.name}`, title: `${count(one.leases)} of ${count(one.places)}` }) },
    { name: "", number: true, show: (one) => `${count(one.leases)} of ${count(one.places)}` },
    { name: "For", number: true, show: (one) => since(one.started_at) },
    { name: "", first: true, show: (one) => (one.draining ? badge("draining") : "") },
  ], { empty: "No worker is connected: queued tasks wait.", key: (one) => one.id, stack: true, named: false });
  const element = h("section", {}, h("div", { class: "heading" }, h("h2", {}, "Workers ", told), h("div", { class: "row" }, h("a", { href: "#/workers" }, "All workers"))), list.element);
  const leave = repeat(WORKERS_SECONDS, async () => {
    const { sessions, cursor } = await get("/admin/v1/sessions"), all = sessions.filter((one) => one.types.length);
    list.show(all.toSorted((left, right) => right.leases - left.leases || (left.name < right.name ? -1 : 1)).slice(0, WORKERS_SHOWN));
    const taken = all.reduce((sum, one) => sum + one.leases, 0), places = all.reduce((sum, one) => sum + one.places, 0);
    set(told, [all.length ? `${cursor ? "more than " : ""}${several(all.length, "worker")}, ${share(taken / places)} of the places taken` : ""]);
  });
  return { element, leave };
}
