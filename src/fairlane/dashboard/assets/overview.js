// An organization, now: its queue, its slots and what holds them, and the last hour, day or week.

import { watch } from "./api.js";
import { card, fill, h, rowsOf, set } from "./dom.js";
import { count, lately, perSecond, progress, share, since } from "./format.js";
import { history, SPANS } from "./history.js";
import { firstTask } from "./snippets.js";

export function overview(content) {
  const queued = card("Queued"), processing = card("Processing"), slots = card("Slots used"), done = card("Completed"), failed = card("Failed");
  const line = h("span", { class: "badge" }, "Connecting…");
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Slots used" });
  const begin = h("section", {}), charts = h("section", { class: "open" });
  const levels = rowsOf("Highest first", [
    { name: "Priority", show: (level) => String(level.priority) },
    { name: "Tasks", number: true, show: (level) => count(level.count) },
  ], { empty: "The queue is empty.", key: (level) => level.priority });
  const why = h("p", { hidden: true }, h("a", { href: "#/tasks?status=QUEUED" }, "Which tasks wait, and why"));
  const named = h("caption");
  const holders = rowsOf("In the order of acceptance", [
    { name: "What", show: (one) => (one.taskId ? h("a", { href: `#/task/${one.taskId}` }, one.kind) : one.kind) },
    { name: "Type", long: true, first: true, show: (one) => one.taskType },
    { name: "Attempt", number: true, show: (one) => `${one.attempt} of ${one.attempts}` },
    { name: "For", number: true, show: (one) => since(one.startedAt) },
    { name: "Progress", long: true, show: (one) => (one.progress ? progress(one.progress) : "–") },
    { name: "Deadline", named: true, show: (one) => lately(one.deadlineAt) },
  ], { empty: "Every slot is free.", key: (one) => one.id, stack: true });
  let before = null;
  const stop = watch((now) => {
    const { queuedTasks, processingTasks, concurrency, priorityBreakdown } = now.status;
    queued.show(count(queuedTasks), queuedTasks ? "wait for a slot or a worker" : "nothing waits");
    processing.show(count(processingTasks), "tasks that run now");
    if (concurrency) {
      slots.show(`${count(concurrency.used)} of ${count(concurrency.max)}`, share(concurrency.used / concurrency.max));
      bar.max = Math.max(concurrency.max, concurrency.used);
      bar.value = concurrency.used;
      bar.setAttribute("aria-valuetext", `${count(concurrency.used)} of ${count(concurrency.max)}`);
    } else {
      slots.show("–", "not known at the moment");
      bar.removeAttribute("value");
      bar.setAttribute("aria-valuetext", "unknown");
    }
    const seconds = before ? (new Date(now.at) - new Date(before.at)) / 1000 : 0;
    done.show(list("COMPLETED", now.completed), seconds > 0 ? `${perSecond((now.completed - before.completed) / seconds)} now` : "in all");
    failed.show(list("FAILED", now.failed, now.failed ? "bad" : ""), "in all");
    before = now;
    if (now.submitted || queuedTasks || processingTasks) begin.replaceChildren();
    else if (!begin.firstChild) {
      fill(begin, h("h2", {}, "Submit your first task"), h("p", {}, "Nothing was submitted yet. Copy this request, run it, and see the task here; ", h("a", { href: "#/code" }, "Code"), " has programs in Python and Node, too."));
      firstTask().then((shown) => { if (shown && begin.firstChild) begin.append(shown); }, () => {});
    }
    levels.show(priorityBreakdown);
    why.hidden = !queuedTasks;
    holders.show(now.slots);
    named.textContent = `In the order of acceptance${now.slotsBounded ? `, the first ${count(now.slots.length)}` : ""}`;
  }, (up) => { set(line, [up ? "Live, once a second." : "The connection is lost; trying again…"]); line.className = `badge ${up ? "good" : "bad"}`; });
  holders.element.querySelector("caption").replaceWith(named);
  named.textContent = "In the order of acceptance";
  slots.element.append(bar);
  fill(content, h("div", { class: "heading" }, h("h1", {}, "Now"), line), h("div", { class: "cards" }, [queued, processing, slots, done, failed].map((one) => one.element)),
    begin, charts,
    h("div", { class: "aside" }, h("section", {}, h("h2", {}, "What holds the slots"), holders.element), h("section", {}, h("h2", {}, "Queue by priority"), levels.element, why)));
  const drawn = history(charts, SPANS[0]);
  return () => { stop(); drawn(); };
}

// Returns a number with the way to its tasks.
const list = (status, number, kind = "") => h("a", { class: `plain ${kind}`.trim(), href: `#/tasks?status=${status}` }, count(number));
