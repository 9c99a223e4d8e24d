// What the lists of tasks share: the filters, which stand in the address, and the pages.

import { button, field, fill, h, notice } from "./dom.js";
import { remember } from "./organizations.js";

const STATUSES = ["", "QUEUED", "PROCESSING", "COMPLETED", "FAILED"];
export const AGES = { "": "any time", 1: "the last hour", 24: "the last day", 168: "the last seven days" };

// Returns the filters of a list of tasks as an element, and functions that read them. `changed` is called after each change.
// Operators choose an organization, too; a key's beginning is looked for only in one.
export function filters(query, operator, changed) {
  const choice = (id, options) => h("select", { id }, options.map(([value, name]) => h("option", { value }, name)));
  const text = (id, placeholder, size) => h("input", { id, placeholder, size, value: query.get(id) ?? "", autocomplete: "off" });
  const status = choice("status", STATUSES.map((one) => [one, one || "all"])), during = choice("during", Object.entries(AGES));
  const organization = text("organization", "all", 12), type = text("type", "any", 14), code = text("code", "any", 12), key = text("key", "anything", 14), group = text("group", "any", 14);
  const priority = choice("priority", ["", 10, 9, 8, 7, 6, 5, 4, 3, 2, 1].map((one) => [one, one || "any"]));
  priority.value = query.get("priority") ?? "";
  if (priority.selectedIndex < 0) priority.value = "";
  status.value = STATUSES.includes(query.get("status")) ? query.get("status") : "";
  during.value = AGES[query.get("during")] ? query.get("during") : "";
  const keys = field(key, "Key begins with"), groups = field(group, "Failure group"), owner = () => (operator ? organization.value.trim() : "");
  const prepare = () => { keys.hidden = operator && !owner(); groups.hidden = !group.value.trim(); };
  const given = (fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => value));
  const chosen = () => given({ organization: owner(), status: status.value, type: type.value.trim(), code: code.value.trim(), group: group.value.trim(), priority: Number(priority.value), [operator ? "idempotency_key_prefix" : "idempotencyKeyPrefix"]: keys.hidden ? "" : key.value,
    from: during.value ? new Date(Date.now() - during.value * 3_600_000).toISOString() : "" });
  const kept = () => given({ organization: owner(), status: status.value, type: type.value.trim(), code: code.value.trim(), group: group.value.trim(), priority: Number(priority.value), key: keys.hidden ? "" : key.value, during: during.value });
  for (const one of [organization, status, during, type, code, group, priority, key]) one.addEventListener("change", () => { prepare(); remember("tasks", kept()); changed(); });
  prepare();
  const parts = [operator ? field(organization, "Organization") : null, field(status, "Status"), field(type, "Type"), field(code, "Code"), groups, field(priority, "Priority"), keys, field(during, "Accepted in")];
  return { parts, chosen, status: () => status.value, owner };
}

// Shows one page of a list, with buttons to the others. `read` is called with a cursor, or null for the first page, and
// returns the rows and the cursor of the next page.
export function paged(read, show) {
  const element = h("div", { class: "row" });
  let cursor = null, trail = [], turns = 0;
  const look = async () => {
    const turn = (turns += 1), [rows, next] = await read(cursor);
    if (turn !== turns) return;  // a later look has other filters, or another page
    show(rows);
    fill(element, trail.length ? button("Newer", () => { cursor = trail.pop(); return look(); }) : null,
      next ? button("Older", () => { trail.push(cursor); cursor = next; return look(); }) : null);
  };
  const again = () => { cursor = null; trail = []; look().catch((error) => notice(error.message, "bad")); };
  return { element, look, again, isFirst: () => !trail.length };
}
