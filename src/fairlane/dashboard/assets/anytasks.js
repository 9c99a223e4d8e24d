// Tasks of all organizations, or of one, for operators: the list with the filters of the customers' page.

import { get, repeat } from "./api.js";
import { bulk } from "./bulk.js";
import { badge, fill, h, rowsOf } from "./dom.js";
import { filters, paged } from "./filters.js";
import { lately, since, span } from "./format.js";

const PAGE = 25, LOOKS = 4;

export function anyTasks(content, { query }) {
  const reference = h("input", { id: "reference", placeholder: "Task id", size: 26 });
  const list = rowsOf("The newest organization first, of each the newest task first", [
    { name: "Status", first: true, show: (one) => badge(one.status) },
    { name: "Age", number: true, first: true, show: (one) => since(one.created_at) },
    { name: "Organization", long: true, show: (one) => h("a", { href: `#/organization/${encodeURIComponent(one.organization)}` }, one.organization) },
    { name: "Type", long: true, show: (one) => one.task_type },
    { name: "Failure", long: true, show: (one) => (one.failure ? h("span", { class: "bad" }, one.failure.code) : "") },
    { name: "Task", id: true, show: (one) => taskLink(one) },
    { name: "Priority", number: true, show: (one) => String(one.priority) },
    { name: "Accepted", named: true, show: (one) => lately(one.created_at) },
    { name: "Took", number: true, show: (one) => (one.finished_at === null ? "–" : span((one.finished_at - one.created_at) / 1000)) },
  ], { empty: "No tasks.", key: (one) => one.id, stack: true });
  const filter = filters(query, true, () => { all.offer(filter.status()); pages.again(); });
  // A page of the API ends after a number of tasks that it looked at, so it may be short.
  const pages = paged(async (cursor) => {
    const rows = [];
    let next = cursor;
    for (let looks = 0; looks < LOOKS && rows.length < PAGE; looks += 1) {
      const page = await get(`/admin/v1/tasks?${new URLSearchParams({ limit: PAGE - rows.length, ...filter.chosen(), ...(next ? { cursor: next } : {}) })}`);
      rows.push(...page.tasks);
      next = page.cursor;
      if (!next) break;
    }
    return [rows, next];
  }, list.show);
  const all = bulk(true, { chosen: filter.chosen, after: pages.look, owner: () => (filter.owner() ? ` of ${filter.owner()}` : " of all organizations") });
  all.offer(filter.status());
  const find = h("form", { class: "row" }, h("label", { for: "reference", class: "quiet" }, "Find"), reference, h("button", {}, "Show"));
  find.addEventListener("submit", (event) => { event.preventDefault(); if (reference.value.trim()) location.hash = `#/task/${encodeURIComponent(reference.value.trim())}`; });
  fill(content, h("div", { class: "heading" }, h("h1", {}, "Tasks"), find),
    h("section", {}, h("div", { class: "row fields" }, filter.parts, h("span", { class: "row acts" }, all.buttons)), all.told, list.element, pages.element));
  const stop = repeat(3, async () => { if (pages.isFirst()) await pages.look(); });
  return () => { stop(); all.leave(); };
}

const taskLink = (one) => h("a", { href: `#/task/${one.id}`, title: one.idempotency_key ?? one.id }, (one.idempotency_key ?? one.id).slice(0, 48));
