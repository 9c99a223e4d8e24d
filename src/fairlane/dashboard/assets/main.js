// The only page: the session decides which sections exist, and the address which of them is shown.

import { ask, get, keep, see, whenEnded } from "./api.js";
import { button, fill, h, notice, submits } from "./dom.js";
import { access } from "./access.js";
import { alerts } from "./alerts.js";
import { capacity } from "./capacity.js";
import { deliveries } from "./deliveries.js";
import { allFailures, failures } from "./failures.js";
import { hosts } from "./hosts.js";
import { installation } from "./installation.js";
import { lanes } from "./lanes.js";
import { overview } from "./overview.js";
import { snippets } from "./snippets.js";
import { type, types, workers } from "./operator.js";
import { upkeep } from "./upkeep.js";
import { organization, organizations } from "./organizations.js";
import { plan, plans } from "./plans.js";
import { anyTask } from "./anytask.js";
import { anyTasks } from "./anytasks.js";
import { task, tasks } from "./tasks.js";
import { usage } from "./usage.js";

const SECTIONS = {
  organization: [["", "Now", overview], ["tasks", "Tasks", tasks], ["failures", "Failures", failures], ["usage", "Usage", usage], ["capacity", "Capacity", capacity],
    ["webhooks", "Webhooks", deliveries], ["alerts", "Alerts", alerts], ["access", "Keys", access], ["code", "Code", snippets]],
  operator: [["", "Overview", installation], ["lanes", "Lanes", lanesPage], ["tasks", "Tasks", anyTasks], ["failures", "Failures", allFailures], ["organizations", "Organizations", organizations], ["plans", "Plans", plans], ["types", "Types", types], ["workers", "Workers", workers], ["deliveries", "Deliveries", hosts], ["upkeep", "Upkeep", upkeep]],
};
const DETAILS = { organization: [["task", task]], operator: [["organization", organization], ["plan", plan], ["type", type], ["task", anyTask]] };

function lanesPage(place) {
  const section = h("section");
  fill(place, h("h1", { class: "unseen" }, "Lanes"), section);
  return lanes(section);
}

// While an operator sees the dashboard of an organization, this tab keeps the view.
const VIEW = "fairlane-view";

const TICKET = "#/enter/";

const content = document.getElementById("content");
let leave = () => {};
let session = null;
let accepted = [];

async function start() {
  try {
    const refused = await exchanged(), opened = await get("/session");
    accepted = opened.accepts;
    if (!opened.kind) { login(refused); return; }
    if (refused) notice(refused, "bad");
    enter(opened);
  } catch (error) {
    fill(content, h("p", { class: "bad" }, error.message));
  }
}

// The address of `fairlane dashboard` has a ticket, which opens an operator's session once. It leaves the address before it is
// sent, so that no history has it. Returns why it was refused, or an empty text.
async function exchanged() {
  if (!location.hash.startsWith(TICKET)) return "";
  const ticket = location.hash.slice(TICKET.length);
  history.replaceState(null, "", "/dashboard#/");
  try { await ask("POST", "/enter", { ticket }); } catch (error) {
    if (error.status === 401) return "This address was used already, or is older than a minute. Run fairlane dashboard again.";
    if (error.status === 403) return "Open this address in a browser of the server's own machine.";
    throw error;
  }
  return "";
}

function enter(opened) {
  const kept = opened.kind === "operator" ? JSON.parse(sessionStorage.getItem(VIEW) ?? "null") : null;
  session = kept ? { ...opened, kind: "organization", viewed: kept.organization } : opened;
  keep(opened);
  see(kept);
  if (!kept) sessionStorage.removeItem(VIEW);
  const line = document.getElementById("viewed");
  line.hidden = !kept;
  document.body.classList.toggle("viewing", Boolean(kept));
  fill(line, kept ? [h("span", {}, "You see the dashboard of ", h("b", {}, kept.organization), " as it sees it. Nothing can be changed here, and the audit names this view."), button("Leave", async () => leaveView(opened, kept.organization))] : []);
  fill(document.getElementById("who"), h("span", { class: "long" }, opened.name), button("Log out", async () => {
    // From here on no refusal may show the login on this page: the next page shows it.
    session = null;
    sessionStorage.removeItem(VIEW);
    try { await ask("DELETE", "/session"); }
    catch (error) {
      if (error.status !== 401) { session = opened; throw error; }
    }
    location.assign("/dashboard");
  }));
  show();
}

// Sees the dashboard of this organization, from the operators' pages.
async function view(name) {
  sessionStorage.setItem(VIEW, JSON.stringify(await ask("POST", "/view", { organization: name })));
  location.assign("#/");
  location.reload();
}

function leaveView(opened, name) {
  sessionStorage.removeItem(VIEW);
  leave();
  leave = () => {};
  history.replaceState(null, "", `#/organization/${encodeURIComponent(name)}`);
  enter(opened);
}

function show() {
  leave();
  leave = () => {};
  const [address, query = ""] = location.hash.split("?"), [name = "", ...rest] = places(address);
  const sections = SECTIONS[session.kind];
  const navigation = document.getElementById("navigation");
  fill(navigation, sections.map(([path, title]) =>
    h("a", { href: `#/${path}`, "aria-current": path === name ? "page" : path === `${name}s` ? "true" : null }, title)), session.reference ? h("a", { href: session.reference }, "API reference") : null);
  // On a phone the sections are one line, wider than the screen.
  const current = navigation.querySelector("[aria-current]");
  if (current) navigation.scrollLeft = current.offsetLeft - navigation.offsetLeft - (navigation.clientWidth - current.clientWidth) / 2;
  const found = sections.find(([path]) => path === name)?.[2] ?? DETAILS[session.kind].find(([path]) => path === name)?.[1];
  if (!found) { fill(content, h("h1", {}, "There is no such page"), h("a", { href: "#/" }, "Back to the start")); return; }
  fill(content);
  leave = found(content, { rest, query: new URLSearchParams(query), view }) ?? (() => {});
  document.title = `${content.querySelector("h1")?.textContent ?? "fairlane"} – fairlane`;
}

// A page is called with its place, and with the rest of the address: its further parts, and its query.
// Returns the parts of an address; an address that cannot be decoded belongs to no page.
function places(hash) {
  try { return hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent); }
  catch { return [null]; }
}

// The kinds of keys, by prefix. Which of them open a session depends on the address that served the page.
const KEYS = {
  organization: { begins: "sk_", name: "a key of your organization", elsewhere: "Organizations log in at the address of the API." },
  operator: { begins: "ak_", name: "an admin key", elsewhere: "Operators log in at an address that serves /admin/v1, such as the private listener, or run fairlane dashboard on the server's machine." },
  worker: { begins: "wk_", name: "a worker key", elsewhere: "" },
};

function login(why = "") {
  session = null;
  sessionStorage.removeItem(VIEW);
  document.getElementById("viewed").hidden = true;
  const wanted = accepted.map((kind) => `${KEYS[kind].name} (${KEYS[kind].begins}…)`).join(", or ");
  const field = h("input", { id: "key", type: "password", autocomplete: "off", spellcheck: "false", required: true });
  const form = h("form", { class: "card login" }, h("h1", {}, "Log in"),
    h("p", { class: "quiet" }, `Use ${wanted}. It is sent once and not stored. The session ends after twelve hours, when the key is revoked, or when you log out.`),
    why ? h("p", { class: "bad", role: "alert" }, why) : null, h("label", { for: "key" }, "Key"), field, h("button", { class: "primary" }, "Log in"));
  fill(content, submits(form, async () => {
    const key = field.value.trim();
    const [kind, known] = Object.entries(KEYS).find(([, one]) => key.startsWith(one.begins)) ?? [];
    if (kind && !accepted.includes(kind)) throw new Error(`This is ${known.name}, which does not open a session here. ${known.elsewhere}`.trim());
    enter(await ask("POST", "/login", { key }));
  }));
  document.title = "Log in – fairlane";
  field.focus();
}

whenEnded(() => {
  if (!session) return;
  leave();
  leave = () => {};
  fill(document.getElementById("navigation"));
  fill(document.getElementById("who"));
  login("You were logged out: the key was revoked, the server was started again, or the session's twelve hours are over.");
});
// After a link to another section, the focus moves to its content; a freshly opened page starts at its top.
addEventListener("hashchange", () => {
  if (location.hash.startsWith(TICKET)) start();
  else if (session) { show(); content.focus({ preventScroll: true }); }
});
start();
