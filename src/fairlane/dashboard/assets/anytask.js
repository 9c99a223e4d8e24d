// One task of any organization, for operators: what happened to it, with the true causes and the workers.

import { ask, get, getText, repeat, serverTime } from "./api.js";
import { badge, button, card, fill, h, notice, set } from "./dom.js";
import { inAttempts, span } from "./format.js";
import { steps, timeline } from "./timeline.js";
import { valued } from "./value.js";

export function anyTask(content, { rest: [id] }) {
  const path = `/admin/v1/tasks/${encodeURIComponent(id)}`;
  const title = h("h1", {}, "Task"), status = h("span"), acts = h("div", { class: "row" }), names = h("p", { class: "quiet long" }), payload = h("section"), result = h("section"), cause = h("section");
  const cards = ["Organization", "Priority", "Waited", "Ran", "In all"].map((name) => card(name)), [owner, priority, waited, ran, whole] = cards;
  const told = timeline();
  fill(content, h("p", { class: "quiet" }, h("a", { href: "#/tasks" }, "Tasks"), " › task"), h("div", { class: "heading" }, title, status, acts), names, h("div", { class: "cards" }, cards.map((one) => one.element)),
    h("section", {}, h("h2", {}, "What happened"), told.element), cause, h("div", { class: "two" }, result, payload));
  getText(`${path}/payload`).then((sent) => fill(payload, h("h2", {}, "Payload"), ...valued(sent, "Payload")), (error) => fill(payload, h("p", { class: "quiet" }, error.message)));
  const cancel = button("Cancel", async () => {
    if (!confirm(`Cancel this task of ${owner.element.querySelector("dd").textContent}? It ends as FAILED and costs nothing.`)) return;
    await ask("DELETE", path);
    notice("The task is being canceled.");
  }, "danger");
  const stop = repeat(2, async () => {
    const [one, tried] = await Promise.all([get(path), get(`${path}/attempts`)]);
    const now = serverTime(), final = one.finished_at !== null;
    // The last cause is below with its trace.
    const attempts = tried.attempts.map((each, index) => ({ number: each.number, startedAt: each.started_at, endedAt: each.ended_at, ending: each.ending, code: each.code, message: each.message, dueAt: each.due_at, cause: one.cause && index === tried.attempts.length - 1 ? one.cause.split("\n")[0] : each.cause, worker: each.worker,
      waited: each.waited && { slot: each.waited.slot_ms, worker: each.waited.worker_ms } }));
    const first = attempts[0]?.startedAt;
    title.textContent = one.task_type;
    set(status, [badge(one.status)]);
    set(names, [one.idempotency_key ? `${one.idempotency_key} · ` : "", h("code", {}, one.id)]);
    owner.show(h("a", { class: "plain", href: `#/organization/${encodeURIComponent(one.organization)}` }, one.organization), "submitted it");
    priority.show(String(one.priority), "10 is the highest");
    waited.show(first ? span((first - one.created_at) / 1000) : final ? "–" : span((now - one.created_at) / 1000), first ? "before its first attempt" : final ? "it never started" : "until now");
    ran.show(attempts.length ? span(attempts.reduce((sum, each) => sum + (each.endedAt ?? now) - each.startedAt, 0) / 1000) : "–", inAttempts(attempts.length + tried.omitted));
    whole.show(span(((one.finished_at ?? now) - one.created_at) / 1000), final ? "from request to end" : "until now");
    told.show(steps({ createdAt: one.created_at, status: one.status, attempts, omitted: tried.omitted, endedAt: one.finished_at, failure: one.failure?.code === "TASK_CANCELED" ? "Canceled before its first attempt" : null }, now));
    set(cause, one.failure ? [h("h2", {}, "Why it failed"), h("p", {}, h("b", {}, one.failure.code), `: ${one.failure.message}`), one.cause ? h("pre", { tabindex: 0, "aria-label": "Cause" }, one.cause) : h("span")] : []);
    if (final) stop();
    if (one.status === "COMPLETED" && !result.firstChild) fill(result, h("h2", {}, "Result"), ...valued(await getText(`${path}/result`), "Result"));
    fill(acts, final ? null : cancel);
  });
  return stop;
}
