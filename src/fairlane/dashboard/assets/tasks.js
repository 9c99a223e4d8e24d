// Tasks: the list, and one of them with payload, result, and why it waits.

import { ask, follow, get, repeat } from "./api.js";
import { badge, button, facts, fill, h, notice, table } from "./dom.js";
import { count, moment, progress, span } from "./format.js";

const NAME_SHOWN = 48;
const STATUSES = ["", "QUEUED", "PROCESSING", "COMPLETED", "FAILED"];

export function tasks(content, { query }) {
  const chosen = query.get("status") ?? "";
  const list = h("section"), status = h("select", { id: "status" }, STATUSES.map((one) => h("option", { value: one }, one || "all")));
  const reference = h("input", { id: "reference", placeholder: "Task id or idempotency key" });
  status.value = STATUSES.includes(chosen) ? chosen : "";
  let cursor = null, trail = [];
  const address = () => "/v1/async/tasks?limit=25" + (status.value ? `&status=${status.value}` : "") + (cursor ? `&cursor=${encodeURIComponent(cursor)}` : "");
  const look = async () => {
    const page = await get(address());
    fill(list, table("Newest first", [
      { name: "Task", id: true, show: (one) => link(one.task) },
      { name: "Type", long: true, show: (one) => one.task.taskType },
      { name: "Status", show: (one) => [badge(one.task.status), one.task.status === "QUEUED" ? h("a", { class: "beside", href: `#/task/${one.task.id}` }, "why?") : null] },
      { name: "Priority", number: true, show: (one) => String(one.task.priority) },
      { name: "Created", show: (one) => moment(one.task.createdAt) },
      { name: "Took", number: true, show: (one) => (one.task.latencyMs === null ? "–" : span(one.task.latencyMs / 1000)) },
    ], page.tasks, "No tasks."), h("div", { class: "row" },
      trail.length ? button("Newer", () => { cursor = trail.pop(); return look(); }) : null,
      page.nextCursor ? button("Older", () => { trail.push(cursor); cursor = page.nextCursor; return look(); }) : null));
  };
  status.addEventListener("change", () => { cursor = null; trail = []; look().catch((error) => notice(error.message, "bad")); });
  const find = h("form", { class: "row" }, h("label", { for: "reference", class: "quiet" }, "Find"), reference, h("button", {}, "Show"));
  find.addEventListener("submit", (event) => { event.preventDefault(); if (reference.value.trim()) location.hash = `#/task/${encodeURIComponent(reference.value.trim())}`; });
  fill(content, h("h1", {}, "Tasks"), h("div", { class: "row" }, h("label", { for: "status", class: "quiet" }, "Status"), status,
    button("Clear the queue", async () => {
      if (!confirm("Drop every task of your organization that is still queued? They are deleted permanently, and their webhooks are not notified. Running tasks continue.")) return;
      const { cleared } = await ask("DELETE", "/v1/async/queue");
      notice(`${count(cleared)} tasks were dropped.`);
      await look();
    }, "danger")), find, list);
  return follow(async () => { if (!trail.length) await look(); });
}

// Shows the idempotency key if there is one. A very long key is shown in full on the task's page.
const link = (one) => {
  const name = one.idempotencyKey ?? one.id;
  return h("a", { href: `#/task/${one.id}`, title: name }, name.length > NAME_SHOWN ? `${name.slice(0, NAME_SHOWN)}…` : name);
};

export function task(content, { rest: [reference] }) {
  const path = `/v1/async/task/${encodeURIComponent(reference)}`;
  const heading = h("h1", {}, "Task"), summary = h("section"), waiting = h("section"), payload = h("section"), response = h("section");
  fill(content, heading, summary, waiting, response, payload);
  get(`${path}/payload`).then((sent) => fill(payload, h("h2", {}, "Payload"), json(sent)), (error) => fill(payload, h("p", { class: "quiet" }, error.message)));
  let over = false;
  const look = async () => {
    const found = await get(path).catch((error) => {
      if (error.status !== 404) throw error;
      fill(summary, h("p", { class: "bad" }, "There is no such task, or it was deleted: it ended long ago, or the queue was cleared."));
    });
    if (!found) { fill(waiting); stop(); return; }
    const one = found.task, final = one.status === "COMPLETED" || one.status === "FAILED";
    const told = await delivered(found);
    fill(summary, facts([
      ["Id", h("code", {}, one.id)], ["Idempotency key", one.idempotencyKey], ["Type", one.taskType], ["Status", badge(one.status)],
      ["Priority", String(one.priority)], ["Created", moment(one.createdAt)],
      ["Took", one.latencyMs === null ? null : span(one.latencyMs / 1000)],
      ["Credits", found.credits.creditsCharged === null ? `${count(found.credits.creditsToCharge)} to charge` : `${count(found.credits.creditsCharged)} charged`],
      ["Webhook", found.webhook ? `${found.webhook.url}: ${found.webhook.delivered ? `delivered ${moment(found.webhook.deliveredAt)}` : told}` : null],
    ]), h("div", { class: "row" },
      final ? null : button("Cancel", async () => {
        if (!confirm(`Cancel this task? It ends as FAILED and costs nothing. ${one.status === "PROCESSING" ? "Its handler is asked to end, and its result is dropped." : "It leaves the queue."}`)) return;
        await ask("DELETE", path);
        notice("The task is being canceled.");
      }, "danger"),
      one.status === "FAILED" ? button("Run again", async () => {
        if (!confirm(`Run it again? A new task with the same payload is queued. It costs ${credits(found.credits.creditsToCharge)} if it completes.`)) return;
        const again = await ask("POST", `${path}/retry`);
        location.hash = `#/task/${again.task.id}`;
      }) : null));
    if (final) {
      if (!over) { fill(waiting); fill(response, h("h2", {}, one.status === "COMPLETED" ? "Result" : "Failure"), json(found.response)); }
      // The task has ended, but the delivery to its webhook may not have.
      if (told === GIVEN_UP || !found.webhook || found.webhook.delivered) stop();
      else if (!over) { over = true; stop(); stop = repeat(5, look); }
      return;
    }
    const why = await get(`${path}/wait`);
    fill(waiting, h("h2", {}, one.status === "QUEUED" ? "Why it waits" : "Where it is"), facts([
      ["Reason", why.explanation], ["Until", why.until ? moment(why.until) : null],
      ["Tasks ahead", why.tasksAhead === null ? null : `${count(why.tasksAhead)}${why.tasksAheadBounded ? " or more" : ""}`],
      ["Estimate", why.estimate ? `starts within ${span(why.estimate.p50Seconds)} (median), ${span(why.estimate.p90Seconds)} (90th percentile)` : "not known"],
      ["Progress", why.progress ? progress(why.progress) : null],
    ]));
  };
  let stop = repeat(1.5, look);
  return () => stop();
}

const credits = (number) => (number === 1 ? "1 credit" : `${count(number)} credits`);

const GIVEN_UP = "given up";

// Returns the state of the message to the task's webhook until it is delivered, from the newest deliveries.
async function delivered({ task: { id }, webhook }) {
  if (!webhook || webhook.delivered) return null;
  const owed = (await get("/v1/webhooks/deliveries?limit=100")).deliveries.find((one) => one.taskId === id);
  if (!owed) return "not delivered";
  return { given_up: GIVEN_UP, trying: "being delivered" }[owed.status] ?? `not delivered yet, next try ${moment(owed.nextTryAt)}`;
}

const json = (value) => h("pre", { tabindex: 0 }, JSON.stringify(value, null, 2));
