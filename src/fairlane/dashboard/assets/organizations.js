// The operator's organizations: found by name or by how busy they are; and one of them, with its limits and its tasks.

import { grantsOf, keysOf } from "./account.js";
import { ask, get, repeat, watch } from "./api.js";
import { chart, RATE } from "./chart.js";
import { badge, button, card, facts, fill, h, notice, rowsOf, set } from "./dom.js";
import { count, lately, moment, several, share, span } from "./format.js";
import { LIMITS, limitsForm, shown as shownLimit } from "./limits.js";

const PAGE = 50;
const MINUTE = 60_000, USED_SECONDS = 10;
const ORDERS = {
  name: { name: "by name" }, queued: { name: "most queued first", by: (one) => -one.queued }, used: { name: "most slots in use first", by: (one) => -one.used },
  failed: { name: "most failed first", by: (one) => -one.failed }, waits: { name: "longest wait first", by: (one) => one.oldest_ready_at ?? Infinity },
};

// Writes the chosen filters into the address, so that it can be kept, sent, and gone back to.
export function remember(path, chosen) {
  const query = new URLSearchParams(Object.entries(chosen).filter(([, value]) => value));
  history.replaceState(null, "", `#/${path}${String(query) ? `?${query}` : ""}`);
}

export function organizations(content, { query }) {
  const search = h("input", { id: "search", type: "search", placeholder: "Name begins with…", "aria-label": "Name begins with", value: query.get("search") ?? "" });
  const order = h("select", { id: "order", "aria-label": "Order" }, Object.entries(ORDERS).map(([value, one]) => h("option", { value }, one.name)));
  order.value = ORDERS[query.get("order")] ? query.get("order") : "name";
  const told = h("span", { class: "quiet" }), pages = h("div", { class: "row" });
  const list = rowsOf("Organizations", [
    { name: "Organization", long: true, first: true, show: (one) => h("a", { href: `#/organization/${encodeURIComponent(one.name)}` }, one.name) },
    { name: "State", show: state }, { name: "Plan", named: true, show: (one) => planOf(one.plan) },
    { name: "Queued", number: true, show: (one) => count(one.queued) },
    { name: "Slots", number: true, show: (one) => (one.slots_max === null ? "–" : `${count(one.used)} of ${count(one.slots_max)}`) },
    { name: "Oldest waits", number: true, show: (one) => (one.oldest_ready_at ? span(Math.max(0, Date.now() - one.oldest_ready_at) / 1000) : "–") },
    { name: "Completed", number: true, show: (one) => count(one.completed) },
    { name: "Failed", number: true, show: (one) => (one.failed ? h("span", { class: "bad" }, count(one.failed)) : "0") },
    { name: "Share failed", number: true, show: (one) => (one.failed ? share(one.failed / (one.completed + one.failed)) : "–") },
  ], { empty: "No organization has such a name.", key: (one) => one.id, stack: true, named: false });
  let cursor = null, trail = [], busiest = [];
  const look = async () => {
    const { by } = ORDERS[order.value], text = search.value.trim();
    remember("organizations", { search: text, order: by ? order.value : "" });
    if (by) {
      const found = busiest.filter((one) => one.name.startsWith(text)).sort((left, right) => by(left) - by(right) || (left.name < right.name ? -1 : 1));
      list.show(found.slice(0, PAGE));
      told.textContent = `${several(Math.min(PAGE, found.length), "organization")} of the ${count(busiest.length)} with most tasks`;
      pages.replaceChildren();
      return;
    }
    const page = await get(`/admin/v1/organizations?limit=${PAGE}&search=${encodeURIComponent(text)}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
    list.show(page.organizations);
    fill(pages, trail.length ? button("Back", () => { cursor = trail.pop(); return look(); }) : null,
      page.cursor ? button("Next", () => { trail.push(cursor); cursor = page.cursor; return look(); }) : null);
  };
  const again = () => { cursor = null; trail = []; told.textContent = ""; look().catch((error) => notice(error.message, "bad")); };
  search.addEventListener("input", again);
  order.addEventListener("change", again);
  fill(content, h("div", { class: "heading" }, h("h1", {}, "Organizations"), told, h("div", { class: "row" }, search, order)), h("section", {}, list.element, pages));
  const leave = watch((now) => {
    const first = !busiest.length;
    busiest = now.busiest;
    if (order.value === "name") told.textContent = several(now.total.organizations, "organization");
    else if (first) look();
  }, () => {});
  const stop = repeat(3, look);
  return () => { leave(); stop(); };
}

const FLAGS = [["disabled", "bad"], ["paused", "warn"], ["maintenance", "warn"], ["drifted", "bad"]];
const flagsOf = (one) => FLAGS.filter(([flag]) => one[flag]).map(([flag, kind]) => h("span", { class: `badge ${kind}` }, flag));
const state = (one) => (FLAGS.some(([flag]) => one[flag]) ? flagsOf(one) : "");

export function organization(content, { rest: [name], view }) {
  const path = `/admin/v1/organizations/${encodeURIComponent(name)}`;
  const heading = h("div", { class: "heading" }, h("h1", {}, name)), cards = ["Queued", "Slots used", "Completed", "Failed", "Credits"].map((one) => card(one));
  const [queued, used, completed, failed, credits] = cards;
  const usage = usedBy(name), limits = h("section"), list = h("section"), keys = h("section"), grants = h("section");
  const flags = h("span"), acts = h("div", { class: "row" });
  heading.append(flags, acts);
  fill(content, h("p", { class: "quiet" }, h("a", { href: "#/organizations" }, "Organizations"), " › ", name), heading, h("div", { class: "cards" }, cards.map((one) => one.element)),
    h("div", { class: "pair" }, usage.charts, usage.month), list, h("div", { class: "two" }, limits, h("div", {}, keys, grants)));
  keysOf(keys, path, name);
  const counted = grantsOf(grants, path, () => look());
  // A form says itself what it does; a button that has consequences asks before.
  const change = async (changes, told, question = null) => {
    if (question && !confirm(question)) return;
    await ask("PATCH", path, changes);
    await look();
    notice(told);
  };
  let drawn = "", all = [];
  const look = async () => {
    const one = await get(path);
    if (!all.some((plan) => plan.name === one.plan)) all = (await get("/admin/v1/plans")).plans;
    queued.show(tasksOf(name, count(one.queued), "QUEUED"), one.oldest_ready_at ? `the oldest waits for ${span(Math.max(0, Date.now() - one.oldest_ready_at) / 1000)}` : "none can start");
    used.show(one.slots_max === null ? "–" : tasksOf(name, `${count(one.used)} of ${count(one.slots_max)}`, "PROCESSING"), one.slots_max ? share(one.used / one.slots_max) : "the plan has no slots");
    completed.show(tasksOf(name, count(one.completed), "COMPLETED"), `of ${count(one.submitted)} submitted`);
    failed.show(tasksOf(name, count(one.failed), "FAILED"), one.failed ? `${share(one.failed / (one.completed + one.failed))} of those that ended` : "none", one.failed ? "bad" : "");
    credits.show(one.credits.on ? count(one.credits.granted - one.credits.charged) : "–", one.credits.on ? "left" : "not counted");
    set(flags, flagsOf(one));
    counted(one.credits.on);
    // The form stays as a reader fills it in, until the limits themselves change.
    const values = { ...one, slots: one.slots_max, monthly_credits: one.credits.monthly }, limited = LIMITS.map(({ field }) => values[field]);
    const now = JSON.stringify([one.plan, limited, one.paused, one.disabled, one.maintenance, all]);
    if (now === drawn) return;
    drawn = now;
    fill(acts, button("See what it sees", () => view(name)), one.paused ? button("Resume", () => change({ paused: false }, `${name} starts tasks again.`))
      : button("Pause", () => change({ paused: true }, `${name} is paused.`, `Pause ${name}? Its tasks are accepted and wait; what runs goes on. Nothing new starts until you resume it.`)),
    one.maintenance ? button("End maintenance", () => change({ maintenance: false }, `${name} is no longer under maintenance.`))
      : button("Begin maintenance", () => change({ maintenance: true }, `${name} is under maintenance.`, `Begin maintenance of ${name}? Until you end it, its status reads concurrency null: its programs see no slots in use and no limit. Its tasks are accepted and run as before.`)),
    one.disabled ? button("Enable", () => change({ disabled: false }, `${name} may use the API again.`))
      : button("Disable", () => change({ disabled: true }, `${name} is disabled.`, `Disable ${name}? Every one of its keys is refused at once, and nothing of it starts. What runs goes on. Its tasks are kept.`), "danger"));
    const plan = h("select", { id: "plan" }, all.map(({ name }) => h("option", { value: name }, name)));
    plan.value = one.plan;
    const form = limitsForm(values, (changes) => {
      if (plan.value !== one.plan) changes.plan = plan.value;
      return Object.keys(changes).length ? change(changes, "The limits hold from now on.") : notice("Nothing was changed.");
    }, { empty: () => "the plan's", before: h("div", {}, h("label", { for: "plan" }, "Plan"), plan, h("small", {}, planOf(one.plan))), named: { plan } });
    fill(limits, h("h2", {}, "Limits"), facts([["Plan", planOf(one.plan)], ["Created", moment(one.created_at)], ...LIMITS.map((limit) => [limit.name, shownLimit(limit, values[limit.field])])]),
      h("details", {}, h("summary", {}, "Change"), form));
  };
  const stop = repeat(2, look), leave = newest(list, name);
  return () => { stop(); leave(); usage.leave(); };
}

const planOf = (name) => h("a", { class: "within", href: `#/plan/${encodeURIComponent(name)}` }, name);

// Returns the way to the tasks of an organization, of one status or of all.
const tasksOf = (name, shown, status = "", look = "plain") => h("a", { class: look, href: `#/tasks?${new URLSearchParams({ organization: name, ...(status ? { status } : {}) })}` }, shown);

// What an organization used: the last hour by the minute, over all task types, and this month.
function usedBy(name) {
  const flow = chart("Flow", { note: "each second, the last hour", unit: RATE, live: true, series: [{ name: "started", kind: "main" }, { name: "completed", kind: "good" }, { name: "failed", kind: "bad" }] });
  const charts = h("div", { class: "charts" }, flow.element), month = h("section"), chosen = `organization=${encodeURIComponent(name)}`;
  const leave = repeat(USED_SECONDS, async () => {
    const now = new Date().toISOString().slice(0, 7);
    const [{ types, start, end }, { usage: [used] }] = await Promise.all([get(`/admin/v1/usage/types?${chosen}`), get(`/admin/v1/usage/monthly?month=${now}&${chosen}`)]);
    const sums = new Map(), times = [];
    for (const point of types.flatMap((one) => one.points)) {
      const sum = sums.get(point.start) ?? { started: 0, completed: 0, failed: 0 };
      for (const of of Object.keys(sum)) sum[of] += point[of];
      sums.set(point.start, sum);
    }
    for (let time = start; time < end; time += MINUTE) times.push(time);
    const values = ["started", "completed", "failed"].map((of) => times.map((time) => (sums.get(time)?.[of] ?? 0) / (Math.min(MINUTE, end - time) / 1000)));
    flow.show({ times, step: MINUTE, until: end, values });
    set(month, [h("h2", {}, "This month ", h("small", {}, "UTC")), used ? facts([["Submitted", count(used.submitted)], ["Completed", count(used.completed)], ["Failed", count(used.failed)], ["Slot time", span(used.slot_seconds)], ["Credits charged", count(used.credits_charged)], ["Since", moment(used.from_at)]]) : h("p", { class: "quiet" }, "Nothing was counted yet.")]);
  });
  return { charts, month, leave };
}

// The newest tasks of an organization, with the way to all of them.
function newest(section, name) {
  const list = rowsOf("Newest first", [
    { name: "Status", first: true, show: (one) => badge(one.status) },
    { name: "Accepted", first: true, show: (one) => lately(one.created_at) },
    { name: "Type", long: true, show: (one) => one.task_type },
    { name: "Priority", number: true, show: (one) => String(one.priority) },
    { name: "Attempt", number: true, show: (one) => (one.attempt ? String(one.attempt) : "–") },
    { name: "Failure", long: true, show: (one) => (one.failure ? h("span", { class: "bad" }, one.failure.code) : "") },
    { name: "Task", long: true, show: (one) => h("a", { href: `#/task/${one.id}` }, one.idempotency_key ?? one.id) },
  ], { empty: "No tasks.", key: (one) => one.id, stack: true });
  fill(section, h("div", { class: "heading" }, h("h2", {}, "Tasks"), h("div", { class: "row" }, tasksOf(name, "All of its tasks", "", null))), list.element);
  return repeat(3, async () => list.show((await get(`/admin/v1/tasks?organization=${encodeURIComponent(name)}&limit=10`)).tasks));
}
