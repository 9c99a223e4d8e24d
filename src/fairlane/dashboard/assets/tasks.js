// Tasks: the list, and one of them with what happened to it, its payload and its result.

import { ask, follow, get, getText, repeat, serverTime } from "./api.js";
import { bulk } from "./bulk.js";
import { badge, button, card, copies, facts, fill, h, notice, rowsOf, set } from "./dom.js";
import { count, inAttempts, lately, moment, progress, several, since, span } from "./format.js";
import { filters, paged } from "./filters.js";
import { picks } from "./picks.js";
import { steps, timeline } from "./timeline.js";
import { valued } from "./value.js";

const NAME_SHOWN = 48;

export function tasks(content, { query }) {
  const reference = h("input", { id: "reference", placeholder: "Task id or idempotency key", size: 26 });
  const picked = picks(() => pages.look());
  const list = rowsOf("Newest first", [
    picked.column,
    { name: "Status", first: true, show: (one) => [badge(one.task.status), one.task.status === "QUEUED" ? h("a", { class: "beside", href: `#/task/${one.task.id}` }, "why?") : null] },
    { name: "Age", number: true, first: true, show: (one) => since(one.task.createdAt) },
    { name: "Type", long: true, show: (one) => one.task.taskType },
    { name: "Failure", long: true, show: (one) => (one.code ? h("span", { class: "bad" }, one.code) : "") },
    { name: "Task", id: true, show: (one) => link(one.task) },
    { name: "Priority", number: true, show: (one) => String(one.task.priority) },
    { name: "Accepted", named: true, show: (one) => lately(one.task.createdAt) },
    { name: "Took", number: true, show: (one) => (one.task.latencyMs === null ? "–" : span(one.task.latencyMs / 1000)) },
  ], { empty: "No tasks.", key: (one) => one.task.id, stack: true });
  const filter = filters(query, false, () => { all.offer(filter.status()); pages.again(); });
  const pages = paged(async (cursor) => {
    const page = await get(`/v1/async/tasks?${new URLSearchParams({ limit: 25, ...filter.chosen(), ...(cursor ? { cursor } : {}) })}`);
    return [page.tasks, page.nextCursor];
  }, (found) => { list.show(found); picked.show(found.map((one) => one.task)); });
  const all = bulk(false, { chosen: filter.chosen, after: pages.look });
  all.offer(filter.status());
  const find = h("form", { class: "row" }, h("label", { for: "reference", class: "quiet" }, "Find"), reference, h("button", {}, "Show"));
  find.addEventListener("submit", (event) => { event.preventDefault(); if (reference.value.trim()) location.hash = `#/task/${encodeURIComponent(reference.value.trim())}`; });
  fill(content, h("div", { class: "heading" }, h("h1", {}, "Tasks"), find),
    h("section", {}, h("div", { class: "row fields" }, filter.parts, h("span", { class: "row acts" }, all.buttons)), picked.place, all.told, list.element, pages.element),
    h("section", {}, h("h2", {}, "Clear the queue"), h("p", { class: "quiet" }, "Drops every task that is still queued, permanently. Running tasks continue."), button("Clear the queue", async () => {
      if (!confirm("Drop every task of your organization that is still queued? They are deleted permanently, and their webhooks are not notified. Running tasks continue.")) return;
      const { cleared } = await ask("DELETE", "/v1/async/queue");
      notice(`${several(cleared, "task")} ${cleared === 1 ? "was" : "were"} dropped.`);
      await pages.look();
    }, "danger")));
  const stop = follow(async () => { if (pages.isFirst()) await pages.look(); });
  return () => { stop(); all.leave(); };
}

// Shows the idempotency key if there is one. A very long key is shown in full on the task's page.
const link = (one) => {
  const name = one.idempotencyKey ?? one.id;
  return h("a", { href: `#/task/${one.id}`, title: name }, name.length > NAME_SHOWN ? `${name.slice(0, NAME_SHOWN)}…` : name);
};

export function task(content, { rest: [reference] }) {
  const path = `/v1/async/task/${encodeURIComponent(reference)}`;
  const title = h("h1", {}, "Task"), status = h("span"), acts = h("div", { class: "row" }), names = h("p", { class: "quiet long" });
  const cards = ["Priority", "Waited", "Ran", "In all", "Credits"].map((name) => card(name)), [priority, waited, ran, whole, cost] = cards;
  const told = timeline(), waiting = h("section"), payload = h("section"), response = h("section"), webhook = h("section"), summary = h("section", {}, h("h2", {}, "What happened"), told.element);
  fill(content, h("p", { class: "quiet" }, h("a", { href: "#/tasks" }, "Tasks"), " › task"), h("div", { class: "heading" }, title, status, acts), names,
    h("div", { class: "cards" }, cards.map((one) => one.element)), waiting, summary, webhook, h("div", { class: "two" }, response, payload));
  let over = false, drawn = "", given = null;
  getText(`${path}/payload`).then((sent) => { given = sent; fill(payload, h("h2", {}, "Payload"), ...valued(sent, "Payload")); look().catch(() => {}); }, (error) => fill(payload, h("p", { class: "quiet" }, error.message)));
  const look = async () => {
    const [found, tried] = await Promise.all([get(path), get(`${path}/attempts`)]).catch((error) => {
      if (error.status !== 404) throw error;
      fill(summary, h("p", { class: "bad" }, "There is no such task, or it was deleted: it ended long ago, or the queue was cleared."));
      return [];
    });
    if (!found) { fill(waiting); stop(); return; }
    const one = found.task, final = one.status === "COMPLETED" || one.status === "FAILED", now = serverTime();
    const owed = await delivery(found), sent = deliveredText(found, owed);
    const attempts = tried.attempts.map((try_) => ({ number: try_.number, startedAt: Date.parse(try_.startedAt), endedAt: try_.endedAt === null ? null : Date.parse(try_.endedAt), ending: try_.ending,
      code: try_.failure?.code ?? null, message: try_.failure?.message ?? null, dueAt: try_.nextAttemptAt === null ? null : Date.parse(try_.nextAttemptAt),
      waited: try_.waited && { slot: try_.waited.forSlotMs, worker: try_.waited.forWorkerMs } }));
    const why = final ? null : await get(`${path}/wait`);
    const createdAt = Date.parse(one.createdAt), first = attempts[0]?.startedAt, endedAt = final ? attempts.at(-1)?.endedAt ?? null : null;
    title.textContent = one.taskType;
    set(status, [badge(one.status)]);
    set(names, [one.idempotencyKey ? `${one.idempotencyKey} · ` : "", h("code", {}, one.id)]);
    priority.show(String(one.priority), "10 is the highest");
    waited.show(first ? span((first - createdAt) / 1000) : final ? "–" : span((now - createdAt) / 1000), first ? "before its first attempt" : final ? "it never started" : "until now");
    ran.show(attempts.length ? span(attempts.reduce((sum, each) => sum + (each.endedAt ?? now) - each.startedAt, 0) / 1000) : "–", inAttempts(attempts.length + tried.omitted));
    whole.show(final && endedAt === null ? "–" : span(((endedAt ?? now) - createdAt) / 1000), final ? "from request to end" : "until now");
    cost.show(count(found.credits.creditsCharged ?? found.credits.creditsToCharge), found.credits.creditsCharged === null ? "to charge" : "charged");
    const failure = one.status === "FAILED" ? found.response?.error : null;
    told.show(steps({ createdAt, status: one.status, attempts, omitted: tried.omitted, endedAt, failure: failure?.code === "TASK_CANCELED" ? "Canceled before its first attempt" : null, why: why?.explanation,
      tries: (owed?.tries ?? []).map((each) => ({ ...each, at: Date.parse(each.at) })), url: found.webhook?.url }, now));
    if (found.webhook) set(webhook, [h("h2", {}, "Webhook"), h("p", { class: "long" }, `${found.webhook.url}: ${sent}`)]);
    if (drawn !== `${one.status} ${given !== null}`) {
      drawn = `${one.status} ${given !== null}`;
      fill(acts, given === null ? null : copies(h("pre", {}, asCurl(one, given)), null, { name: "Copy as curl", into: payload }), ...actions(path, found, look));
    }
    if (final) {
      if (!over) { fill(waiting); const name = one.status === "COMPLETED" ? "Result" : "Failure"; fill(response, h("h2", {}, name), ...valued(JSON.stringify(found.response), name)); }
      // The task has ended, but the delivery to its webhook may not have.
      if (sent === GIVEN_UP || !found.webhook || found.webhook.delivered) stop();
      else if (!over) { over = true; stop(); stop = repeat(5, look); }
      return;
    }
    set(waiting, [h("h2", {}, one.status === "QUEUED" ? "Why it waits" : "Where it is"), facts([
      ["Reason", why.explanation], ["Until", why.until ? moment(why.until) : null],
      ["Tasks ahead", why.tasksAhead === null ? null : `${count(why.tasksAhead)}${why.tasksAheadBounded ? " or more" : ""}`],
      ["Estimate", why.estimate ? `starts within ${span(why.estimate.p50Seconds)} (median), ${span(why.estimate.p90Seconds)} (90th percentile)` : "not known"],
      ["Progress", why.progress ? progress(why.progress) : null],
    ].filter(([, told]) => told !== null))]);
  };
  let stop = repeat(1.5, look);
  return () => stop();
}

// Returns a command that submits a task like this one; the payload is as it was sent.
function asCurl({ taskType, priority }, payload) {
  const body = `{"taskType": ${JSON.stringify(taskType)}, "priority": ${priority}, "payload": ${payload}}`.replaceAll("'", "'\\''");
  return `curl -X POST ${location.origin}/v1/async/task \\\n  -H "Authorization: Bearer $FAIRLANE_API_KEY" -H "Content-Type: application/json" \\\n  -d '${body}'`;
}

// What can be done with a task in its state.
const actions = (path, { task: { status }, credits: { creditsToCharge } }, look) => [
  status === "COMPLETED" || status === "FAILED" ? null : button("Cancel", async () => {
    if (!confirm(`Cancel this task? It ends as FAILED and costs nothing. ${status === "PROCESSING" ? "Its handler is asked to end, and its result is dropped." : "It leaves the queue."}`)) return;
    await ask("DELETE", path);
    notice("The task is being canceled.");
    await look();
  }, "danger"),
  status === "FAILED" ? button("Run again", async () => {
    if (!confirm(`Run it again? A new task with the same payload is queued. It costs ${credits(creditsToCharge)} if it completes.`)) return;
    const again = await ask("POST", `${path}/retry`);
    location.hash = `#/task/${again.task.id}`;
  }) : null,
];

const credits = (number) => (number === 1 ? "1 credit" : `${count(number)} credits`);

const GIVEN_UP = "given up";

// Returns the message that is owed to the task's webhook, or null.
async function delivery({ task: { id }, webhook }) {
  if (!webhook) return null;
  return (await get(`/v1/webhooks/deliveries?taskId=${id}`)).deliveries[0] ?? null;
}

function deliveredText({ webhook }, owed) {
  if (!webhook) return null;
  if (webhook.delivered) return `delivered ${moment(webhook.deliveredAt)}`;
  if (!owed) return "not delivered";
  return { given_up: GIVEN_UP, trying: "being delivered" }[owed.status] ?? `not delivered yet, next try ${moment(owed.nextTryAt)}`;
}
