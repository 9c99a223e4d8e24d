// The operator's sections: all organizations live, the workers, and upkeep.

import { ask, get, repeat, serverTime, watch } from "./api.js";
import { badge, button, card, fill, h, notice, table } from "./dom.js";
import { count, moment, perSecond, share, since, span } from "./format.js";

export function organizations(content) {
  const cards = { organizations: card("Organizations"), queued: card("Queued"), used: card("Slots used"), done: card("Completed"), drifted: card("Drifted", "organizations with counts that differ from their rows; 0 is exact") };
  const line = h("p", { class: "quiet" }, "Connecting…"), list = h("section");
  let before = null;
  const speed = (name, now) => {
    const old = before?.busiest.find((one) => one.name === name), fresh = now.busiest.find((one) => one.name === name);
    const seconds = before ? (new Date(now.at) - new Date(before.at)) / 1000 : 0;
    return old && seconds > 0 ? perSecond((fresh.completed + fresh.failed - old.completed - old.failed) / seconds) : "–";
  };
  const stop = watch((now) => {
    const { total } = now, seconds = before ? (new Date(now.at) - new Date(before.at)) / 1000 : 0;
    cards.organizations.show(count(total.organizations));
    cards.queued.show(count(total.queued));
    cards.used.show(count(total.used));
    cards.done.show(count(total.completed), seconds > 0 ? perSecond((total.completed - before.total.completed) / seconds) : "");
    cards.drifted.show(count(total.drifted));
    fill(list, table("The busiest first, at most 200", [
      { name: "Organization", long: true, show: (one) => one.name }, { name: "Plan", long: true, show: (one) => one.plan },
      { name: "Queued", number: true, show: (one) => count(one.queued) },
      { name: "Used", number: true, show: (one) => `${count(one.used)} of ${count(one.slots_max)}` },
      { name: "In use", number: true, show: (one) => (one.slots_max ? share(one.used / one.slots_max) : "–") },
      { name: "Oldest waits", number: true, show: (one) => (one.oldest_ready_at ? span(Math.max(0, new Date(now.at) - one.oldest_ready_at) / 1000) : "–") },
      { name: "Finished", number: true, show: (one) => speed(one.name, now) },
      { name: "State", show: (one) => ["paused", "disabled", "maintenance", "drifted"].filter((flag) => one[flag]).join(", ") || "–" },
    ], now.busiest, "No organizations yet: fairlane organizations create NAME"));
    before = now;
  }, (up) => { line.textContent = up ? "Live, once a second." : "The connection is lost; trying again…"; line.className = up ? "good" : "bad"; });
  fill(content, h("h1", {}, "Organizations"), line, h("div", { class: "cards" }, Object.values(cards).map((one) => one.element)), list);
  return stop;
}

export function workers(content) {
  const list = h("section");
  fill(content, h("h1", {}, "Workers"), list);
  return repeat(2, async () => {
    const [{ sessions }, server] = await Promise.all([get("/admin/v1/sessions"), get("/admin/v1/server")]);
    const trouble = server.worker_trouble && h("p", { class: "bad" }, `None of this server's own workers can start: ${server.worker_trouble}`);
    // The next sweep ends a worker with an expired lease, unless the worker renews it first.
    fill(list, trouble || "", table("Worker processes that are connected", [
      { name: "Worker", long: true, show: (one) => one.name },
      { name: "State", show: (one) => badge(one.lease_until > serverTime() ? "live" : "silent") },
      { name: "Running", number: true, show: (one) => `${count(one.leases)} of ${count(one.places)}` },
      { name: "Types", long: true, show: (one) => one.types.join(", ") },
      { name: "Where", show: (one) => (one.local ? "a server's own" : "remote") },
      { name: "For", show: (one) => since(one.started_at) },
    ], sessions, "No worker is connected: queued tasks wait."));
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
  fill(content, h("h1", {}, "Upkeep"), state, drift, audit);
  recount().catch((error) => notice(error.message, "bad"));
  return repeat(5, look);
}
