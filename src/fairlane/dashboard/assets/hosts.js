// The hosts of webhooks, for operators: how their tries ended, and what holds what they are owed.

import { get, repeat, serverTime } from "./api.js";
import { badge, button, fill, h, notice, rowsOf, set } from "./dom.js";
import { count, lately, share, span } from "./format.js";
import { remember } from "./organizations.js";

const ERRORS = { refused_by_policy: "address not allowed", timeout: "no answer in time", connection: "no connection", tls: "TLS failed", bad_answer: "no HTTP answer", broken: "our own fault, see the log", interrupted: "the server ended" };
const HOLDS = {
  pause: (one) => ["pauses until ", lately(one.due_at)],
  server_busy: () => [h("b", {}, "this server is busy"), ", every place runs a try"],
  slow: () => [h("b", {}, "it hangs"), ", so it gets no reserved place while the others are taken"],
  organization_busy: () => [h("b", {}, "its share is used"), ", the organization runs as many tries as one may"],
  host_busy: () => [h("b", {}, "as many tries run there as may")],
  stuck: () => [h("span", { class: "badge bad" }, "stuck"), " nothing holds it; see the log of the servers"],
};

export function hosts(content, { query }) {
  const search = h("input", { id: "search", type: "search", placeholder: "Host begins with…", "aria-label": "Host begins with", value: query.get("search") ?? "" });
  const which = h("select", { id: "which", "aria-label": "Which" }, h("option", { value: "trouble" }, "those with trouble"), h("option", { value: "name" }, "all, by name"));
  which.value = query.has("search") || query.get("which") === "name" ? "name" : "trouble";
  const told = h("span", { class: "quiet" }), pages = h("div", { class: "row" });
  const list = rowsOf("Hosts", [
    { name: "Host", long: true, first: true, show: (one) => one.host },
    { name: "State", first: true, show: (one) => state(one) },
    { name: "Waiting", number: true, show: (one) => `${count(one.open)}${one.open_bounded ? "+" : ""}` },
    { name: "What holds them", long: true, show: (one) => (one.hold ? HOLDS[one.hold](one) : one.open ? "nothing, it is its turn" : "") },
    { name: "Tries", number: true, show: (one) => count(one.tries) },
    { name: "Failed", number: true, show: (one) => (one.failed ? h("span", { class: "bad" }, count(one.failed)) : "0") },
    { name: "Delivered", number: true, show: (one) => (one.tries ? share(1 - one.failed / one.tries) : "–") },
    { name: "Last try", long: true, named: true, show: (one) => (one.last_at === null ? "none yet" : `${one.last_status ?? ERRORS[one.last_error] ?? one.last_error}, ${span(one.last_ms / 1000)}, ${lately(one.last_at)}`) },
    { name: "Organizations", long: true, show: (one) => one.organizations.slice(0, 3).flatMap((name, index) => [index ? ", " : "", h("a", { class: "within", href: `#/organization/${encodeURIComponent(name)}` }, name)]).concat(one.organizations.length > 3 ? ` and ${one.organizations.length > 9 ? "others" : count(one.organizations.length - 3)}` : "") },
  ], { empty: "No host has overdue messages, and no last try failed.", key: (one) => one.host, stack: true, named: false });
  let cursor = null, trail = [];
  const look = async () => {
    const text = search.value.trim(), named = which.value === "name" || text !== "";
    remember("deliveries", { search: text, which: named && !text ? "name" : "" });
    const page = await get(`/admin/v1/deliveries/hosts${named ? `?${new URLSearchParams({ search: text, ...(cursor ? { cursor } : {}) })}` : ""}`);
    list.show(page.hosts);
    set(told, [named ? "" : page.more ? `the first ${count(page.hosts.length)} with trouble; search finds others` : page.hosts.length ? "" : "every host takes its messages"]);
    fill(pages, trail.length ? button("Back", () => { cursor = trail.pop(); return look(); }) : null,
      named && page.more ? button("Next", () => { trail.push(cursor); cursor = page.cursor; return look(); }) : null);
  };
  const again = () => { cursor = null; trail = []; look().catch((error) => notice(error.message, "bad")); };
  search.addEventListener("input", again);
  which.addEventListener("change", again);
  fill(content, h("div", { class: "heading" }, h("h1", {}, "Deliveries"), told, h("div", { class: "row" }, search, which)), h("section", {}, list.element, pages),
    h("p", { class: "quiet" }, "Tries and failures are those since the beginning of yesterday (UTC). What holds a message is what this server knows; with several servers, another one may send it."));
  return repeat(3, look);
}

// In one word how a host does, and since when.
function state(one) {
  if (one.due_at !== null && serverTime() - one.due_at > 60_000) return [h("span", { class: "badge bad" }, "late"), ` by ${span((serverTime() - one.due_at) / 1000)}`];
  if (one.failing_since !== null) return [h("span", { class: "badge bad" }, "fails"), ` since ${lately(one.failing_since)}, ${count(one.failed_in_row)} in a row`];
  return one.trying ? badge("trying") : one.last_at === null ? badge("due") : h("span", { class: "badge good" }, "delivers");
}
