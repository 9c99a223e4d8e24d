// The operator's sections beside organizations: the task types, the workers, and upkeep.

import { ask, get, repeat, serverTime } from "./api.js";
import { badge, button, fill, h, notice, rowsOf, table } from "./dom.js";
import { count, moment, since, span } from "./format.js";

// Every type of the application, and every other one that has tasks: what waits and runs of it, and whether a worker serves it.
export function types(content) {
  const list = rowsOf("Task types", [
    { name: "Type", long: true, first: true, show: ([name]) => name },
    { name: "Workers", show: ([, one]) => h("span", { class: `badge ${one.served ? "good" : one.ready ? "bad" : "warn"}` }, one.served ? "served" : "no worker serves it") },
    { name: "Ready", number: true, show: ([, one]) => count(one.ready) }, { name: "Start later", number: true, show: ([, one]) => count(one.waiting) },
    { name: "Running", number: true, show: ([, one]) => count(one.processing) }, { name: "Calls", number: true, show: ([, one]) => count(one.calls) },
    { name: "Oldest waits", number: true, show: ([, one]) => (one.oldest_ready_ms === null ? "–" : span(one.oldest_ready_ms / 1000)) },
  ], { empty: "The application has no task type.", key: ([name]) => name, stack: true, named: false });
  fill(content, h("div", { class: "heading" }, h("h1", {}, "Types")), h("section", {}, list.element));
  return repeat(2, async () => list.show(Object.entries((await get("/admin/v1/overview")).loads)));
}

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
  const trouble = h("p", { class: "bad", role: "alert", hidden: true });
  // The next sweep ends a worker with an expired lease, unless the worker renews it first.
  const list = rowsOf("Worker processes that are connected", [
    { name: "Worker", long: true, first: true, show: (one) => one.name },
    { name: "State", first: true, show: (one) => badge(one.lease_until <= serverTime() ? "silent" : one.draining ? "draining" : "live") },
    { name: "Running", number: true, show: (one) => `${count(one.leases)} of ${count(one.places)}` },
    { name: "Types", long: true, show: (one) => one.types.join(", ") },
    { name: "Where", show: (one) => (one.local ? "a server's own" : "remote") },
    { name: "Version", show: (one) => one.version || "–" },
    { name: "For", number: true, show: (one) => since(one.started_at) },
    { name: "", show: (one) => (one.draining ? "" : drains.get(one)) },
  ], { empty: "No worker is connected: queued tasks wait.", key: (one) => one.id, stack: true });
  fill(content, h("div", { class: "heading" }, h("h1", {}, "Workers")), h("section", {}, trouble, list.element));
  return repeat(2, async () => {
    const [{ sessions }, server] = await Promise.all([get("/admin/v1/sessions"), get("/admin/v1/server")]);
    trouble.hidden = !server.worker_trouble;
    trouble.textContent = server.worker_trouble ? `None of this server's own workers can start: ${server.worker_trouble}` : "";
    list.show(sessions);
  });
}

const MAINTENANCE = "Begin maintenance of the whole installation? Until you end it, the status of every organization reads concurrency null: their programs and dashboards see no slots in use and no limit. Tasks are accepted and run as before.";

export function upkeep(content) {
  const state = h("section"), drift = h("section"), audit = h("section");
  const recount = async () => {
    const found = await get("/admin/v1/drift");
    fill(drift, h("h2", {}, "Counts against rows"), table(`${found.organizations === 1 ? "1 organization" : `${count(found.organizations)} organizations`} recounted in one snapshot`, [
      { name: "Organization", long: true, show: (one) => one.organization }, { name: "Count", show: (one) => one.name },
      { name: "Kept", number: true, show: (one) => count(one.kept) }, { name: "Counted", number: true, show: (one) => count(one.counted) },
    ], found.drift, "No difference: every count is exact."), button("Recount", recount));
  };
  const look = async () => {
    const [server, maintenance, changes] = await Promise.all([get("/admin/v1/server"), get("/admin/v1/maintenance"), get("/admin/v1/audit?limit=50")]);
    fill(state, h("h2", {}, "This server"), h("p", { class: "long" }, `fairlane ${server.version}, ${server.draining ? "draining" : "serving"}; task types: ${server.task_types.join(", ")}`),
      h("div", { class: "row" }, h("span", {}, maintenance.on ? "Under maintenance: concurrency reads null." : "Not under maintenance."),
        button(maintenance.on ? "End maintenance" : "Begin maintenance", async () => {
          if (!maintenance.on && !confirm(MAINTENANCE)) return;
          await ask("PUT", "/admin/v1/maintenance", { on: !maintenance.on });
          await look();
        }, maintenance.on ? "" : "danger")));
    fill(audit, h("h2", {}, "Changes"), table("What operators changed, newest first", [
      { name: "When", show: (one) => moment(one.at) }, { name: "Actor", long: true, show: (one) => one.actor }, { name: "What", show: (one) => one.action },
      { name: "Subject", long: true, show: (one) => one.subject }, { name: "Details", long: true, show: (one) => h("code", {}, JSON.stringify(one.details)) },
    ], changes.audit));
  };
  fill(content, h("div", { class: "heading" }, h("h1", {}, "Upkeep")), h("div", { class: "two" }, state, drift), audit);
  recount().catch((error) => notice(error.message, "bad"));
  return repeat(5, look);
}
