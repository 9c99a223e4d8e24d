// Tasks of a list that a reader picked: runs them again, or cancels them, one after another.

import { ask } from "./api.js";
import { button, fill, h, notice } from "./dom.js";
import { several } from "./format.js";

const ACTS = {
  retry: { name: "Run picked again…", fits: (status) => status === "FAILED", done: "queued again", question: (many) => `Run ${many} again? Each is queued once more with the same payload, and counts and costs like a new one.` },
  cancel: { name: "Cancel picked…", fits: (status) => status === "QUEUED" || status === "PROCESSING", done: "canceled", question: (many) => `Cancel ${many}? They end as FAILED and cost nothing. Handlers that run are asked to end.` },
};

// Returns the column of boxes, the buttons, and a function that is told the tasks on the page.
export function picks(after) {
  const picked = new Set(), place = h("span", { class: "row changes" });
  let shown = [];
  const chosen = (act) => shown.filter((task) => picked.has(task.id) && act.fits(task.status));
  const buttons = new Map(Object.entries(ACTS).map(([kind, act]) => [act, button(act.name, async () => {
    const tasks = chosen(act), refused = [];
    if (!confirm(act.question(several(tasks.length, "task")))) return;
    for (const { id } of tasks) {
      try {
        await (kind === "retry" ? ask("POST", `/v1/async/task/${id}/retry`) : ask("DELETE", `/v1/async/task/${id}`));
        picked.delete(id);
      } catch (error) { refused.push(error.message); }
    }
    notice(`${several(tasks.length - refused.length, "task")} of ${tasks.length} ${tasks.length === 1 ? "was" : "were"} ${act.done}.${refused.length ? ` The first refusal: ${refused[0]}` : ""}`, refused.length ? "bad" : "");
    await after();
    offer();
  }, kind === "cancel" ? "danger" : "")]));
  const offer = () => fill(place, picked.size ? h("span", {}, `${several(picked.size, "task")} picked`) : null, ...[...buttons].map(([act, one]) => chosen(act).length && one));
  const box = ({ id, taskType }) => {
    const made = h("input", { type: "checkbox", "aria-label": `Pick ${taskType} ${id}` });
    made.checked = picked.has(id);
    made.addEventListener("change", () => { if (made.checked) picked.add(id); else picked.delete(id); offer(); });
    return made;
  };
  return { column: { name: "", show: (one) => box(one.task) }, place, show(tasks) {
    shown = tasks;
    for (const id of picked) if (!tasks.some((task) => task.id === id)) picked.delete(id);
    offer();
  } };
}
