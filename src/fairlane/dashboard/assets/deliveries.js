// Webhooks: how tries ended at each host, the list of deliveries with what was answered, sending one again, and a test event.

import { ask, get, repeat, serverTime } from "./api.js";
import { AGES, paged } from "./filters.js";
import { badge, button, card, field, fill, h, notice, rowsOf, set, submits } from "./dom.js";
import { count, lately, several, share, since, span } from "./format.js";
import { remember } from "./organizations.js";

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const STATUSES = ["", "due", "trying", "delivered", "given_up"];
const OUTCOMES = { timeout: "no answer in time", refused_by_policy: "address unknown or not allowed", failed: "no usable answer" };
const HOLDS = {
  pause: (at) => `pauses after a failed try until ${lately(at)}`,
  receiver: (at) => `the receiver asked to wait until ${lately(at)} (Retry-After)`,
  server_busy: () => "the sender is busy: every place for tries is taken",
  slow: () => "the host answers slowly, and the places for quick ones are kept free",
  organization_busy: () => "as many of your tries run as may at once",
  host_busy: () => "as many tries run at this host as may at once",
  stuck: () => "due for more than a minute; ask the operator to look at the log",
};

// Why a message that is due has not gone.
const held = (one) => HOLDS[one.heldBy]?.(one.nextTryAt) ?? (one.nextTryAt ? "nothing holds it, it is its turn" : "");

// How a try ended, in a few words.
export const ended = (tried) => `${tried.status ? `answered ${tried.status}` : OUTCOMES[tried.outcome] ?? tried.outcome}${tried.tookMs === null ? "" : ` after ${span(tried.tookMs / 1000)}`}`;

export function deliveries(content, { query }) {
  const cards = ["Delivered", "Waiting", "Failing hosts"].map((name) => card(name)), [success, waiting, failing] = cards;
  const hosts = rowsOf("Hosts", [
    { name: "Host", long: true, first: true, show: (one) => one.host },
    { name: "State", first: true, show: state },
    { name: "Delivered", number: true, show: (one) => (one.tries ? share(1 - one.failed / one.tries) : "–") },
    { name: "Tries", number: true, show: (one) => count(one.tries) },
    { name: "Failed", number: true, show: (one) => (one.failed ? h("span", { class: "bad" }, count(one.failed)) : "0") },
    { name: "Waiting", number: true, show: (one) => `${count(one.open)}${one.openBounded ? "+" : ""}` },
    { name: "Why they wait", long: true, show: (one) => (one.open ? held(one) || "a try is running" : "") },
    { name: "Last try", long: true, show: (one) => (one.lastTry ? `${ended(one.lastTry)}, ${lately(one.lastTry.at)}` : "none yet") },
  ], { empty: "No webhook was sent in the last two weeks.", key: (one) => one.host, stack: true, named: false });
  const more = h("p", { class: "quiet" });
  const list = rowsOf("Newest first", [
    { name: "Status", first: true, show: (one) => badge(one.status) },
    { name: "Age", number: true, first: true, show: (one) => since(one.createdAt) },
    { name: "Task", show: (one) => (one.taskId ? h("a", { class: "whole", href: `#/task/${one.taskId}` }, one.taskId.slice(0, 13)) : one.alertId ? "an alert" : "a test") },
    { name: "To", long: true, show: (one) => parted(one.url) },
    { name: "Tries, and why it waits", long: true, show: (one) => [one.tries.length ? h("ol", { class: "tries" }, one.tries.map((tried) => h("li", { value: tried.number }, h("span", { class: tried.outcome === "delivered" ? "good" : "bad" }, ended(tried)), `, ${lately(tried.at)}`, tried.answer ? h("code", {}, tried.answer) : null))) : "none yet", held(one) ? h("div", { class: "quiet" }, held(one)) : null] },
    { name: "", show: (one) => (one.status === "trying" ? "" : again(one)) },
  ], { empty: "No deliveries.", key: (one) => one.id, stack: true });
  const again = (one) => button("Send again", async () => {
    if (one.delivered && !confirm(`Send this message to ${one.url} once more? It was already delivered: the receiver gets it twice.`)) return;
    await ask("POST", `/v1/webhooks/deliveries/${one.id}/redeliver`);
    notice("It is being sent again.");
    await pages.look();
  }, "changes");
  const choice = (id, options) => h("select", { id }, options.map(([value, name]) => h("option", { value }, name)));
  const status = choice("status", STATUSES.map((one) => [one, one || "all"])), during = choice("during", Object.entries(AGES));
  const to = h("input", { id: "to", placeholder: "host or URL", size: 22, value: query.get("to") ?? "", autocomplete: "off" });
  const task = h("input", { id: "task", placeholder: "any", size: 22, value: query.get("task") ?? "", autocomplete: "off" });
  status.value = STATUSES.includes(query.get("status")) ? query.get("status") : "";
  during.value = AGES[query.get("during")] ? query.get("during") : "";
  const kept = () => ({ status: status.value, to: to.value.trim(), task: task.value.trim(), during: during.value });
  const chosen = () => {
    const { to: place, task: taskId } = fits() ? kept() : { to: "", task: "" };
    const given = { status: status.value, [/^https?:/i.test(place) ? "urlPrefix" : "hostPrefix"]: place, taskId, from: during.value ? new Date(Date.now() - during.value * 3_600_000).toISOString() : "" };
    return Object.fromEntries(Object.entries(given).filter(([, value]) => value));
  };
  const pages = paged(async (cursor) => {
    const page = await get(`/v1/webhooks/deliveries?${new URLSearchParams({ limit: 25, ...chosen(), ...(cursor ? { cursor } : {}) })}`);
    return [page.deliveries, page.nextCursor];
  }, list.show);
  const fits = () => {
    to.setCustomValidity(/^[!-~]*$/.test(to.value.trim()) ? "" : "A host or URL has no spaces and no letters with accents.");
    task.setCustomValidity(task.value.trim() === "" || ID.test(task.value.trim()) ? "" : "Give the whole id of the task, such as 019aa000-0000-7000-8000-00000000000d.");
    return [to, task].every((one) => one.checkValidity());
  };
  for (const one of [status, to, task, during]) one.addEventListener("change", () => { if (!fits()) { one.reportValidity(); return; } remember("webhooks", kept()); pages.again(); });
  const look = async () => {
    const page = await get("/v1/webhooks/hosts"), open = page.hosts.reduce((sum, one) => sum + one.open, 0), bounded = page.more || page.hosts.some((one) => one.openBounded);
    const failed = page.hosts.filter((one) => one.failingSince !== null).length;
    success.show(page.tries ? share(1 - page.failed / page.tries) : "–", page.tries ? `${several(page.tries, "try", "tries")}, ${count(page.failed)} failed, since yesterday 00:00 UTC` : "no tries since yesterday", page.failed ? "bad" : "");
    waiting.show(`${count(open)}${bounded ? "+" : ""}`, open ? "messages that are not delivered yet" : "everything was sent");
    failing.show(`${count(failed)}${page.more && failed === page.hosts.length ? "+" : ""}`, failed ? "their last try failed" : "every host takes its messages", failed ? "bad" : "");
    hosts.show(page.hosts);
    set(more, page.more ? [`The first ${count(page.hosts.length)} hosts: those that need attention come first.`] : []);
  };
  const url = h("input", { id: "url", type: "url", required: true, placeholder: "https://…", size: 32 });
  const test = h("form", { class: "row changes" }, h("label", { for: "url", class: "quiet" }, "Send a test event to"), url, h("button", {}, "Send"));
  submits(test, async () => {
    await ask("POST", "/v1/webhooks/test", { url: url.value });
    notice("The test event is on its way.");
    await pages.look();
  });
  fill(content, h("div", { class: "heading" }, h("h1", {}, "Webhooks"), test), h("div", { class: "cards" }, cards.map((one) => one.element)),
    h("section", {}, h("h2", {}, "Hosts"), hosts.element, more),
    h("section", {}, h("h2", {}, "Deliveries"), h("div", { class: "row fields" }, field(status, "Status"), field(to, "Address begins with"), field(task, "Task id"), field(during, "Created in")), list.element, pages.element));
  return repeat(3, async () => { await look(); if (pages.isFirst()) await pages.look(); });
}

// Lets an address break after its slashes, before it breaks inside a word.
const parted = (url) => url.split(/(?<=[^/]\/)(?=[^/])/).flatMap((part, index) => (index ? [h("wbr"), part] : [part]));

// How a host does, and since when.
function state(one) {
  if (one.nextTryAt !== null && serverTime() - Date.parse(one.nextTryAt) > 60_000) return [h("span", { class: "badge bad" }, "late"), ` by ${span((serverTime() - Date.parse(one.nextTryAt)) / 1000)}`];
  if (one.failingSince !== null) return [h("span", { class: "badge bad" }, "fails"), ` since ${lately(one.failingSince)}, ${count(one.failedInRow)} in a row`];
  return one.lastTry ? h("span", { class: "badge good" }, "delivers") : badge(one.trying ? "trying" : "due");
}
