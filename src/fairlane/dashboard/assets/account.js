// What an organization holds, for operators: its keys, and the credits that were granted to it.

import { shownOnce } from "./access.js";
import { ask, get } from "./api.js";
import { button, fill, h, nameOf, notice, rowsOf, submits } from "./dom.js";
import { count, moment } from "./format.js";

const GRANTS_SHOWN = 10;

export function keysOf(section, path, name) {
  const shown = h("div", { role: "status" }), label = h("input", { id: "key-name", maxlength: 64, placeholder: "what it is for" });
  const list = rowsOf("Each gives full access to the organization", [
    { name: "Name", long: true, first: true, show: nameOf }, { name: "Ends in", named: true, show: (key) => h("code", {}, key.last4) }, { name: "Created", named: true, show: (key) => moment(key.created_at) },
    { name: "State", show: (key) => (key.revoked_at ? h("span", { class: "badge" }, "revoked") : h("span", { class: "badge good" }, "valid")) },
    { name: "", show: (key) => (key.revoked_at ? "" : button("Revoke", async () => {
      if (!confirm(`Revoke the key of ${name} that ends in ${key.last4}? Programs that use it are refused at once.`)) return;
      await ask("DELETE", `/admin/v1/keys/${key.id}`);
      notice("The key is revoked.");
      await look();
    }, "danger")) },
  ], { empty: "It has no key, so nothing can use the API for it.", key: (key) => `${key.id} ${key.revoked_at}`, stack: true });
  const look = async () => list.show((await get(`${path}/keys`)).keys);
  const form = submits(h("form", { class: "row" }, h("label", { for: "key-name", class: "quiet" }, "New key"), label, h("button", {}, "Create")), async () => {
    const made = await ask("POST", `${path}/keys`, label.value.trim() ? { name: label.value.trim() } : {});
    shownOnce(shown, "key", made.value, "Hand it to the organization.");
    label.value = "";
    await look();
  }, { name: label });
  fill(section, h("h2", {}, "Keys"), shown, list.element, form);
  look().catch((error) => notice(error.message, "bad"));
}

// Returns a function that is told whether the organization's credits are counted.
export function grantsOf(section, path, changed) {
  const told = h("div", { class: "row" }), amount = h("input", { id: "amount", type: "number", step: 1, required: true }), reason = h("input", { id: "reason", required: true, maxlength: 500, placeholder: "for the record" });
  const list = rowsOf("Newest first", [
    { name: "Granted", show: (one) => moment(one.created_at) }, { name: "Credits", number: true, show: (one) => count(one.amount) }, { name: "Reason", long: true, show: (one) => one.reason },
  ], { empty: "Nothing was granted yet.", key: (one) => one.id, stack: true });
  const look = async () => list.show((await get(`${path}/credits/grants?limit=${GRANTS_SHOWN}`)).grants);
  // Its name lets a grant that is sent again after a lost answer count once.
  let id = crypto.randomUUID?.() ?? null;
  const form = submits(h("form", { class: "row" }, h("label", { for: "amount", class: "quiet" }, "Grant"), amount, h("label", { for: "reason", class: "quiet" }, "because"), reason, h("button", {}, "Grant")), async () => {
    const given = Number(amount.value);
    if (!confirm(given < 0 ? `Take ${count(-given)} credits back? The balance may fall below zero; then nothing starts.` : `Grant ${count(given)} credits?`)) return;
    await ask("POST", `${path}/credits/grants`, { amount: given, reason: reason.value, ...(id ? { id } : {}) });
    id = crypto.randomUUID?.() ?? null;
    form.reset();
    notice("The credits are granted.");
    await Promise.all([look(), changed()]);
  }, { amount, reason });
  fill(section, h("h2", {}, "Credits"), told, list.element, form);
  look().catch((error) => notice(error.message, "bad"));
  const turn = async (on) => {
    if (!confirm(on ? "Count credits from now on? A task whose cost is not covered fails." : "Count no credits any more? Everything runs, and nothing is charged.")) return;
    await ask("PATCH", path, { credits: on });
    await changed();
  };
  let shown = null;
  return (on) => {
    if (on === shown) return;
    shown = on;
    fill(told, h("span", { class: "quiet" }, on ? "Completed tasks are charged." : "Not counted: nothing is charged."), button(on ? "Count no credits" : "Count credits", () => turn(!on)));
  };
}
