// The operator's plans: all of them with their limits, and one of them with the form that changes it.

import { ask, get, repeat } from "./api.js";
import { button, fill, h, notice, rowsOf } from "./dom.js";
import { moment } from "./format.js";
import { LIMITS, limitsForm, shown } from "./limits.js";

const path = (name) => `/admin/v1/plans/${encodeURIComponent(name)}`;
const place = (name) => `#/plan/${encodeURIComponent(name)}`;

export function plans(content) {
  const list = rowsOf("Plans", [
    { name: "Plan", long: true, first: true, show: (one) => h("a", { href: place(one.name) }, one.name) },
    ...LIMITS.map((limit) => ({ name: limit.name, number: limit.kind.type === "number", long: limit.field === "task_types", named: limit.kind.type !== "number", show: (one) => shown(limit, one[limit.field]) })),
  ], { empty: "There is no plan.", key: (one) => one.name, stack: true, named: false });
  const look = async () => list.show((await get("/admin/v1/plans")).plans);
  const name = h("input", { id: "plan-name", type: "text", autocomplete: "off" });
  const usual = Object.fromEntries(LIMITS.map((limit) => [limit.field, limit.usual ?? null]));
  const form = limitsForm({ ...usual, slots: 10 }, async (limits) => {
    const made = await ask("POST", "/admin/v1/plans", { name: name.value.trim(), ...limits });
    notice(`The plan ${made.name} is created.`);
    name.value = "";
    await look();
  }, { before: h("div", {}, h("label", { for: "plan-name" }, "Name"), name, h("small", { class: "quiet" }, "letters, digits, dots, dashes, underscores")), named: { name }, all: true, text: "Create" });
  fill(content, h("div", { class: "heading" }, h("h1", {}, "Plans")), h("section", {}, list.element), h("section", {}, h("h2", {}, "New plan"), form));
  return repeat(3, look);
}

export function plan(content, { rest: [name] }) {
  const limits = h("section");
  fill(content, h("p", { class: "quiet" }, h("a", { href: "#/plans" }, "Plans"), " › ", name), h("div", { class: "heading" }, h("h1", {}, name), h("div", { class: "row" }, button("Delete", async () => {
    if (!confirm(`Delete the plan ${name}? A plan that an organization uses is not deleted.`)) return;
    await ask("DELETE", path(name));
    notice(`The plan ${name} is deleted.`);
    location.assign("#/plans");
  }, "danger"))), limits);
  let drawn = "";
  const look = async () => {
    const one = await get(path(name)), now = JSON.stringify(one);
    // The form stays as a reader fills it in, until the plan itself changes.
    if (now === drawn) return;
    drawn = now;
    fill(limits, h("h2", {}, "Limits"), h("p", { class: "quiet" }, `Created ${moment(one.created_at)}. A change holds at once for every organization of the plan, except where it has a limit of its own.`), limitsForm(one, async (changes) => {
      if (!Object.keys(changes).length) { notice("Nothing was changed."); return; }
      await ask("PATCH", path(name), changes);
      await look();
      notice(`The plan ${name} is changed.`);
    }));
  };
  return repeat(3, look);
}
