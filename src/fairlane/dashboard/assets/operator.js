// The operator's sections beside organizations: the task types and the workers.

import { ask, get, repeat, serverTime } from "./api.js";
import { chart, RATE, SECONDS } from "./chart.js";
import { badge, button, card, fill, h, notice, rowsOf, set } from "./dom.js";
import { count, lately, perSecond, several, since, span } from "./format.js";

const TYPES_SECONDS = 10;

// Every type of the application, and every other one that has tasks: what waits and runs of it, whether a worker serves it, and the last hour by the minute.
export function types(content) {
  let hour = new Map(), until = 0, looked = 0;
  const quantiles = (one, of) => (one && one.total[`${of}_p50_ms`] !== null ? [50, 90, 99].map((share) => span(one.total[`${of}_p${share}_ms`] / 1000)).join(" · ") : "–");
  // The last minute that is over.
  const rate = (one) => (one ? perSecond((one.points.find((point) => point.start === until - 60_000)?.started ?? 0) / 60) : "–");
  const list = rowsOf("Task types", [
    { name: "Type", long: true, first: true, show: ([name]) => h("a", { href: `#/type/${encodeURIComponent(name)}` }, name) },
    { name: "Workers", show: ([, one]) => servedBadge(one) },
    { name: "Ready", number: true, show: ([, one]) => count(one.ready) }, { name: "Start later", number: true, show: ([, one]) => count(one.waiting) },
    { name: "Running", number: true, show: ([, one]) => running(one) }, { name: "Calls", number: true, show: ([, one]) => count(one.calls) },
    { name: "Oldest waits", number: true, show: ([, one]) => (one.oldest_ready_ms === null ? "–" : span(one.oldest_ready_ms / 1000)) },
    { name: "Started", number: true, show: ([name]) => rate(hour.get(name)) },
    { name: "Wait p50 · p90 · p99", number: true, show: ([name]) => quantiles(hour.get(name), "wait") }, { name: "Run p50 · p90 · p99", number: true, show: ([name]) => quantiles(hour.get(name), "run") },
    { name: "Failed in an hour", number: true, show: ([name]) => failed(name, hour.get(name)?.total.failed ?? 0) },
  ], { empty: "The application has no task type.", key: ([name]) => name, stack: true, named: false });
  fill(content, h("div", { class: "heading" }, h("h1", {}, "Types")), h("section", {}, list.element));
  return repeat(2, async () => {
    if (Date.now() - looked > TYPES_SECONDS * 1000) {
      const found = await get("/admin/v1/usage/types");
      [hour, until, looked] = [new Map(found.types.map((one) => [one.task_type, one])), found.end, Date.now()];
    }
    list.show(Object.entries((await get("/admin/v1/overview")).loads));
  });
}

const servedBadge = (one) => h("span", { class: `badge ${one.served ? "good" : one.ready ? "bad" : "warn"}` }, one.served ? "served" : "no worker serves it");
// Calls count for the limit of a type, as tasks do.
const running = (one) => (one.limit === null ? count(one.processing) : `${count(one.processing)} of ${count(one.limit)}`);

// One task type: what runs and waits of it, its last hour as charts, and the workers that serve it.
export function type(content, { rest: [name] }) {
  const cards = ["Ready", "Running", "Start later", "Failed"].map((one) => card(one)), [ready, runs, later, failures] = cards, state = h("span");
  const flow = chart("Flow", { note: "each second", unit: RATE, series: [{ name: "started", kind: "main" }, { name: "completed", kind: "good" }, { name: "failed", kind: "bad" }] });
  const wait = chart("Wait before the start", { unit: SECONDS, series: [{ name: "median (p50)", kind: "main" }, { name: "p99", kind: "other" }] });
  const run = chart("Run time", { unit: SECONDS, series: [{ name: "median (p50)", kind: "main" }, { name: "p99", kind: "other" }] });
  const serving = rowsOf("Workers that serve it", [
    { name: "Worker", long: true, first: true, show: (one) => one.name },
    { name: "State", first: true, show: (one) => badge(one.draining ? "draining" : "live") },
    { name: "Running", number: true, show: (one) => `${count(one.leases)} of ${count(one.places)}` },
    { name: "Version", named: true, show: (one) => one.version || "–" }, { name: "For", number: true, show: (one) => since(one.started_at) },
  ], { empty: "No worker serves it.", key: (one) => one.id, stack: true });
  let looked = 0;
  fill(content, h("p", { class: "quiet" }, h("a", { href: "#/types" }, "Types"), " › ", name), h("div", { class: "heading" }, h("h1", { class: "long" }, name), state),
    h("div", { class: "cards" }, cards.map((one) => one.element)), h("div", { class: "charts" }, flow.element, wait.element, run.element), h("section", {}, serving.element));
  const hour = async (minutes) => {
    const { types: found, start, end } = await get("/admin/v1/usage/types"), one = found.find((found) => found.task_type === name);
    failures.show(failed(name, one?.total.failed ?? 0), "in the last hour", one?.total.failed ? "bad" : "");
    // A minute without an attempt has no point: nothing started, or, if no server sampled it, nothing is known of it.
    const sampled = new Set(minutes.filter((one) => one.queued !== null).map((one) => one.start));
    const points = new Map((one?.points ?? []).map((point) => [point.start, point])), times = [];
    for (let time = start; time < end; time += 60_000) times.push(time);
    const show = (of) => times.map((time) => of(points.get(time), time));
    const data = (...values) => ({ times, step: 60_000, until: end, values: values.map(show) });
    const second = (of) => (point, time) => (point || sampled.has(time) ? (point?.[of] ?? 0) / 60 : null), seconds = (of) => (point) => (point?.[of] ?? null) === null ? null : point[of] / 1000;
    flow.show(data(second("started"), second("completed"), second("failed")));
    wait.show(data(seconds("wait_p50_ms"), seconds("wait_p99_ms")));
    run.show(data(seconds("run_p50_ms"), seconds("run_p99_ms")));
  };
  return repeat(2, async () => {
    const [{ loads, minutes }, { sessions }] = await Promise.all([get("/admin/v1/overview"), get("/admin/v1/sessions")]), one = loads[name];
    set(state, one ? [servedBadge(one)] : ["No task type of this name is known."]);
    if (one) {
      ready.show(count(one.ready), one.oldest_ready_ms === null ? "none can start" : `the oldest waits for ${span(one.oldest_ready_ms / 1000)}`);
      runs.show(running(one), `${one.limit === null ? "no limit" : "at once, over all organizations"}; ${several(one.calls, "call")}`);
      later.show(count(one.waiting), "delayed, or in a pause");
    }
    serving.show(sessions.filter(({ types: served }) => served.includes(name)));
    if (Date.now() - looked > TYPES_SECONDS * 1000) { await hour(minutes); looked = Date.now(); }
  });
}

const failed = (name, number) => (number ? h("a", { class: "plain bad", href: `#/tasks?status=FAILED&type=${encodeURIComponent(name)}&during=1` }, count(number)) : "0");

const DRAIN = "It takes no more tasks and ends after those that it runs. No other process takes its place until its server, or fairlane worker, is started again.";

export function workers(content) {
  // A button of each worker, kept from one look to the next.
  const drains = { made: new Map(), get({ id, name }) {
    if (!this.made.has(id)) this.made.set(id, button("Drain", async () => {
      if (!confirm(`Drain ${name}? ${DRAIN}`)) return;
      await ask("POST", `/admin/v1/sessions/${encodeURIComponent(id)}/drain`);
      notice(`${name} takes no more tasks.`);
    }));
    return this.made.get(id);
  } };
  const failed = rowsOf("These cannot start: they are tried again, or have to be started again", [
    { name: "Application", long: true, first: true, show: (one) => one.application },
    { name: "Machine", long: true, first: true, show: (one) => one.host },
    { name: "Why", long: true, show: (one) => h("span", { class: "bad" }, one.cause) },
    { name: "Since", named: true, show: (one) => lately(one.first_at) },
    { name: "Failed starts", number: true, show: (one) => count(one.failures) },
    { name: "Last", number: true, show: (one) => `${since(one.last_at)} ago` },
    { name: "Key", long: true, named: true, show: (one) => one.key ?? "a server's own" },
    { name: "Version", named: true, show: (one) => one.version || "–" },
  ], { key: (one) => `${one.key} ${one.host} ${one.application}`, stack: true });
  const trouble = h("div", { hidden: true }, failed.element), said = h("p", { class: "unseen", role: "alert" });
  // The next sweep ends a worker with an expired lease, unless the worker renews it first.
  const list = rowsOf("Worker processes that are connected", [
    { name: "Worker", long: true, first: true, show: (one) => one.name },
    { name: "State", first: true, show: (one) => badge(one.lease_until <= serverTime() ? "silent" : one.draining ? "draining" : "live") },
    { name: "Running", number: true, show: (one) => `${count(one.leases)} of ${count(one.places)}` },
    { name: "Types", long: true, named: true, show: (one) => one.types.join(", ") },
    { name: "Where", show: (one) => (one.local ? "a server's own" : "remote") },
    { name: "Version", named: true, show: (one) => one.version || "–" },
    { name: "For", number: true, show: (one) => since(one.started_at) },
    { name: "", show: (one) => (one.draining ? "" : drains.get(one)) },
  ], { empty: "No worker is connected: queued tasks wait.", key: (one) => one.id, stack: true });
  fill(content, h("div", { class: "heading" }, h("h1", {}, "Workers")), said, h("section", {}, trouble, list.element));
  return repeat(2, async () => {
    const [{ sessions }, { failed_starts: unstarted }] = await Promise.all([get("/admin/v1/sessions"), get("/admin/v1/failed-starts")]);
    trouble.hidden = !unstarted.length;
    set(said, [unstarted.length ? `No worker of ${unstarted[0].application} can start on ${unstarted[0].host}.` : ""]);
    failed.show(unstarted);
    list.show(sessions);
  });
}
