// What happened, minute by minute, as charts.

import { get, repeat } from "./api.js";
import { lines } from "./chart.js";
import { fill, h } from "./dom.js";
import { count, span } from "./format.js";

export const SPANS = [
  { name: "Hour", hours: 1, step: "1m" }, { name: "Day", hours: 24, step: "15m" }, { name: "Week", hours: 168, step: "2h" },
];

export function history(section, chosen) {
  const charts = h("div");
  let stop = () => {};
  const draw = (choice) => {
    stop();
    fill(section, h("h2", {}, "History"), h("div", { class: "row", role: "group", "aria-label": "Span" }, SPANS.map((one) =>
      h("button", { type: "button", "aria-pressed": String(one === choice), class: one === choice ? "primary" : null, onclick: () => draw(one) }, one.name))), charts);
    stop = repeat(60, async () => show(charts, choice));
  };
  draw(chosen);
  return () => stop();
}

async function show(place, { hours, step }) {
  const to = new Date(), from = new Date(to - hours * 3_600_000);
  const { usage } = await get(`/v1/async/usage?from=${from.toISOString()}&to=${to.toISOString()}&step=${step}`);
  const times = usage.map((one) => new Date(one.at));
  const series = (name, kind, of) => ({ name, kind, values: usage.map(of) });
  fill(place,
    lines("Tasks", times, [series("submitted", "main", (one) => one.submitted), series("completed", "good", (one) => one.completed), series("failed", "bad", (one) => one.failed)], count, { whole: true }),
    lines("Wait before the start", times, [series("median", "main", (one) => one.waitP50Seconds), series("99th percentile", "other", (one) => one.waitP99Seconds)], span),
    lines("Seconds limited", times, [series("by the plan", "main", (one) => one.planLimitedSeconds), series("by workers", "other", (one) => one.workerLimitedSeconds)], span));
}
