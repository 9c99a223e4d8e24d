// The one page: who is logged in decides which sections there are, the address which of them is shown.

import { ask, get, keep, whenEnded } from "./api.js";
import { button, fill, h, notice } from "./dom.js";
import { access } from "./access.js";
import { alerts } from "./alerts.js";
import { capacity } from "./capacity.js";
import { deliveries } from "./deliveries.js";
import { overview } from "./overview.js";
import { snippets } from "./snippets.js";
import { organizations, upkeep, workers } from "./operator.js";
import { task, tasks } from "./tasks.js";
import { usage } from "./usage.js";

const SECTIONS = {
  organization: [["", "Now", overview], ["tasks", "Tasks", tasks], ["usage", "Usage", usage], ["capacity", "Capacity", capacity],
    ["webhooks", "Webhooks", deliveries], ["alerts", "Alerts", alerts], ["access", "Keys", access], ["code", "Code", snippets]],
  operator: [["", "Organizations", organizations], ["workers", "Workers", workers], ["upkeep", "Upkeep", upkeep]],
};
const DETAILS = { organization: [["task", task]], operator: [] };

const content = document.getElementById("content");
let leave = () => {};
let session = null;

async function start() {
  try {
    const opened = await get("/session");
    if (opened) enter(opened);
    else login();
  } catch (error) {
    fill(content, h("p", { class: "bad" }, error.message));
  }
}

function enter(opened) {
  session = opened;
  keep(opened);
  fill(document.getElementById("who"), h("span", { class: "long" }, opened.name), button("Log out", async () => {
    await ask("DELETE", "/session");
    location.assign("/dashboard");
    location.reload();
  }));
  show();
}

function show() {
  leave();
  leave = () => {};
  const [name = "", ...rest] = places(location.hash);
  const sections = SECTIONS[session.kind];
  fill(document.getElementById("navigation"), sections.map(([path, title]) =>
    h("a", { href: `#/${path}`, "aria-current": path === name ? "page" : null }, title)));
  const found = sections.find(([path]) => path === name)?.[2] ?? DETAILS[session.kind].find(([path]) => path === name)?.[1];
  if (!found) { fill(content, h("h1", {}, "There is no such page"), h("a", { href: "#/" }, "Back to the start")); return; }
  fill(content);
  leave = found(content, ...rest) ?? (() => {});
  document.title = `${content.querySelector("h1")?.textContent ?? "fairlane"} – fairlane`;
}

// The parts of an address; one that nobody can decode is nowhere.
function places(hash) {
  try { return hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent); }
  catch { return [null]; }
}

function login(why = "") {
  session = null;
  const field = h("input", { id: "key", type: "password", autocomplete: "off", spellcheck: "false", required: true });
  const form = h("form", { class: "card login" }, h("h1", {}, "Log in"),
    h("p", { class: "quiet" }, "With a key of your organization, or with an admin key. It is sent once and not kept; the session ends after twelve hours, or with the key."),
    why ? h("p", { class: "bad", role: "alert" }, why) : null, h("label", { for: "key" }, "Key", field), h("button", { class: "primary" }, "Log in"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      enter(await ask("POST", "/login", { key: field.value }));
    } catch (error) {
      notice(error.message, "bad");
    }
  });
  fill(content, form);
  document.title = "Log in – fairlane";
  field.focus();
}

whenEnded(() => {
  if (!session) return;
  leave();
  leave = () => {};
  fill(document.getElementById("navigation"));
  fill(document.getElementById("who"));
  login("You were logged out: the key was revoked, or the session's twelve hours are over.");
});
// Who goes to another section by a link goes on reading there; who opens the page starts at its top.
addEventListener("hashchange", () => { if (session) { show(); content.focus({ preventScroll: true }); } });
start();
