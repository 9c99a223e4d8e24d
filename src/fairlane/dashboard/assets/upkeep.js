// Upkeep, for operators: this server, the database, recounts, maintenance, and what operators changed.

import { ask, get, repeat } from "./api.js";
import { trail } from "./trail.js";
import { button, facts, fill, h, notice, set, table } from "./dom.js";
import { bytes, count, moment, several, since } from "./format.js";

const MAINTENANCE = "Begin maintenance of the whole installation? Until you end it, the status of every organization reads concurrency null: their programs and dashboards see no slots in use and no limit. Tasks are accepted and run as before.";

export function upkeep(content) {
  const state = h("section"), care = h("section"), drift = h("section"), changes = h("section");
  const recount = async () => {
    const found = await get("/admin/v1/drift");
    fill(drift, h("h2", {}, "Counts against rows"), table(`${several(found.organizations, "organization")} recounted in one snapshot`, [
      { name: "Organization", long: true, show: (one) => one.organization }, { name: "Count", show: (one) => one.name },
      { name: "Kept", number: true, show: (one) => count(one.kept) }, { name: "Counted", number: true, show: (one) => count(one.counted) },
    ], found.drift, "No difference: every count is exact."), button("Recount", recount));
  };
  const turn = button("Begin maintenance", async () => {
    const { on } = await get("/admin/v1/maintenance");
    if (!on && !confirm(MAINTENANCE)) return;
    await ask("PUT", "/admin/v1/maintenance", { on: !on });
    await look();
  });
  const look = async () => {
    const [server, maintenance, done] = await Promise.all([get("/admin/v1/server"), get("/admin/v1/maintenance"), get("/admin/v1/upkeep")]);
    turn.textContent = maintenance.on ? "End maintenance" : "Begin maintenance";
    turn.className = maintenance.on ? "" : "danger";
    set(state, [h("h2", {}, "This server"), facts([["Release", `fairlane ${server.version}`], ["State", server.draining ? "draining" : "serving"], ["Address", server.address], ["Operators", server.admin_address ?? "the same address"], ["Task types", server.task_types.join(", ")],
      ["Maintenance", maintenance.on ? "Under maintenance: concurrency reads null." : "Not under maintenance."]]), turn]);
    set(care, [h("h2", {}, "Database and upkeep"), facts([["Database", h("span", { class: "long" }, server.database)], ["Size", bytes(done.bytes)],
      ["Last backup", done.backup_at ? `${moment(done.backup_at)}, ${done.backup_to}` : server.database.startsWith("sqlite") ? "none that fairlane made" : "fairlane makes none of PostgreSQL"],
      ["Last pass of upkeep", done.swept_at ? `${since(done.swept_at)} ago` : "not yet"],
      ["Recounted", `${several(done.recounted, "organization")} since this server started, ${done.differences ? several(done.differences, "difference") : "no difference"}`],
      ["All of them", done.recounted_since ? `within the last ${since(done.recounted_since)}` : "not yet"]])]);
  };
  fill(content, h("div", { class: "heading" }, h("h1", {}, "Upkeep")), h("div", { class: "two" }, state, care), drift, changes);
  recount().catch((error) => notice(error.message, "bad"));
  const stop = repeat(5, look), leave = trail(changes);
  return () => { stop(); leave(); };
}
