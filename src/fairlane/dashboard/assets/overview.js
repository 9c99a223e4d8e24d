// An organization, now: its queue, its slots and what holds them, and the last hour, day or week.

import { watch } from "./api.js";
import { card, fill, h, table } from "./dom.js";
import { count, moment, perSecond, progress, share, since } from "./format.js";
import { history, SPANS } from "./history.js";

export function overview(content) {
  const queued = card("Queued"), processing = card("Processing"), slots = card("Slots used"), done = card("Completed");
  const line = h("p", { class: "quiet" }, "Connecting…");
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Slots used" });
  const levels = h("section"), holders = h("section"), charts = h("section");
  let before = null;
  const stop = watch((now) => {
    const { queuedTasks, processingTasks, concurrency, priorityBreakdown } = now.status;
    queued.show(count(queuedTasks), queuedTasks ? "waiting for a slot, a worker or their start time" : "nothing waits");
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
    done.show(count(now.completed), seconds > 0 ? `${perSecond((now.completed - before.completed) / seconds)}, ${count(now.failed)} failed in all` : `${count(now.failed)} failed in all`);
    before = now;
    fill(levels, h("h2", {}, "Queue by priority"), table("Highest first", [
      { name: "Priority", show: (level) => String(level.priority) },
      { name: "Tasks", number: true, show: (level) => count(level.count) },
    ], priorityBreakdown, "The queue is empty."), queuedTasks ? h("p", {}, h("a", { href: "#/tasks/QUEUED" }, "Which tasks wait, and why")) : null);
    fill(holders, h("h2", {}, "What holds the slots"), table(`In the order of acceptance${now.slotsBounded ? `, the first ${count(now.slots.length)}` : ""}`, [
      { name: "What", show: (one) => (one.taskId ? h("a", { href: `#/task/${one.taskId}` }, one.kind) : one.kind) },
      { name: "Type", long: true, show: (one) => one.taskType },
      { name: "Attempt", number: true, show: (one) => `${one.attempt} of ${one.attempts}` },
      { name: "For", number: true, show: (one) => since(one.startedAt) },
      { name: "Progress", long: true, show: (one) => (one.progress ? progress(one.progress) : "–") },
      { name: "Deadline", show: (one) => moment(one.deadlineAt) },
    ], now.slots, "Every slot is free."));
  }, (up) => { line.textContent = up ? "Live, once a second." : "The connection is lost; trying again…"; line.className = up ? "good" : "bad"; });
  fill(content, h("h1", {}, "Now"), line, h("div", { class: "cards" }, queued.element, processing.element, slots.element, done.element), bar, h("p", {}), levels, holders, charts);
  const drawn = history(charts, SPANS[0]);
  return () => { stop(); drawn(); };
}
