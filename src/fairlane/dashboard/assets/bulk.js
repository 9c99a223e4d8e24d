// Many tasks at once: runs again, or cancels, all tasks that a filter chooses, and says how far that is.

import { ask, get, repeat } from "./api.js";
import { button, fill, h, notice } from "./dom.js";
import { count, several } from "./format.js";

const REASONS = { ALREADY_RETRIED: "were run again before", TASK_CANCELED: "were canceled", VALIDATION_ERROR: "are not accepted any more (payload, type or priority)", INSUFFICIENT_CREDITS: "have no credits left",
  ORGANIZATION_DISABLED: "belong to a disabled organization", STATUS_CHANGED: "had changed their status" };

// Returns buttons for what can be done with the tasks of a filter, and a place that shows how far it is.
// `names` are the words of the buttons; `chosen` returns the filter, in the names of the API; `owner`, the organization as the question says it; `seen`, the address of a
// page that shows how they end, or null.
export function bulk(operator, { kinds = ["retry", "cancel"], names = { retry: "Run all again…", cancel: "Cancel all…" }, chosen, after = async () => {}, owner = () => "", seen = () => null }) {
  const base = operator ? "/admin/v1/tasks" : "/v1/async/tasks", told = h("div", { role: "status" });
  let stop = () => {};
  const begin = async (kind) => {
    const filter = kind === "retry" ? { ...chosen(), status: "FAILED" } : chosen();
    const { count: number, retried, complete } = await get(`${base}/count?${new URLSearchParams(filter)}`);
    const left = kind === "retry" ? number - retried : number, many = `${complete ? "" : "more than "}${several(left, "task")}`;
    if (!left) { notice(kind === "retry" ? "No failed task is left to run again." : "No task is left to cancel."); return; }
    if (!confirm(kind === "retry" ? `Run ${many}${owner()} again? Each is queued once more with the same payload, and none of them twice. They count and cost like new tasks.`
      : `Cancel ${many}${owner()}? They end as FAILED and cost nothing. Handlers that run are asked to end.`)) return;
    const answer = await ask("POST", `${base}/${kind}`, filter);
    follow((operator ? answer : answer.bulk).id, kind);
  };
  const follow = (id, kind) => {
    stop();
    stop = repeat(1, async () => {
      const answer = await get(`${base}/bulk/${id}`), one = operator ? answer : { ...answer.bulk, held_by: answer.bulk.heldBy };
      const skipped = Object.entries({ ...one.reasons }).map(([reason, number]) => `${count(number)} ${REASONS[reason] ?? reason}`);
      const verb = kind === "retry" ? "run again" : "canceled", running = one.state === "RUNNING";
      fill(told, h("p", { class: running ? "warn" : one.state === "DONE" ? "good" : "bad" }, h("b", {}, `${several(one.done, "task")} ${one.done === 1 ? "was" : "were"} ${verb}`), running ? " so far." : one.state === "DONE" ? "; that is all of them." : "; then it was stopped.",
        skipped.length ? ` Left out: ${skipped.join(", ")}.` : "", one.held_by ? " It waits until the queue has room." : "", one.done && seen() ? [" ", h("a", { href: seen() }, "See how they end")] : ""),
      running ? button("Stop", async () => {
        if (!confirm("Stop? What was done stays.")) return;
        await ask("DELETE", `${base}/bulk/${id}`);
      }) : null);
      await after();
      if (!running) stop();
    });
  };
  const buttons = kinds.map((kind) => button(names[kind], () => begin(kind), kind === "cancel" ? "danger" : ""));
  // Only what can be done with tasks of this status is offered; an empty status is any.
  const offer = (status) => kinds.forEach((kind, index) => { buttons[index].hidden = !(kind === "retry" ? ["", "FAILED"] : ["", "QUEUED", "PROCESSING"]).includes(status); });
  return { buttons, told, offer, leave: () => stop() };
}
