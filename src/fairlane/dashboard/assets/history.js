// What happened, step by step, as charts.

import { get, repeat } from "./api.js";
import { chart, COUNT, SECONDS } from "./chart.js";
import { fill, h } from "./dom.js";

export const SPANS = [
  { name: "Hour", hours: 1, step: "1m" }, { name: "Day", hours: 24, step: "15m" }, { name: "Week", hours: 168, step: "2h" },
];

export function history(section, chosen) {
  const tasks = chart("Tasks", { note: "in each step", series: [{ name: "submitted", kind: "main", fill: true }, { name: "completed", kind: "good" }, { name: "failed", kind: "bad" }] });
  const waits = chart("Wait before the start", { unit: SECONDS, series: [{ name: "median (p50)", kind: "main" }, { name: "p99", kind: "other" }] });
  const limits = chart("Time with waiting tasks", { note: "and why they waited", unit: SECONDS, series: [{ name: "for a slot", kind: "main" }, { name: "for a worker", kind: "other" }] });
  const steps = h("span", { class: "quiet" });
  const choices = SPANS.map((one) => h("button", { type: "button", "aria-pressed": "false", onclick: () => draw(one) }, one.name));
  let stop = () => {};
  const draw = (choice) => {
    stop();
    choices.forEach((button, index) => button.setAttribute("aria-pressed", String(SPANS[index] === choice)));
    steps.textContent = `Steps of ${{ "1m": "a minute", "15m": "15 minutes", "2h": "two hours" }[choice.step]}; the last one is not over.`;
    stop = repeat(choice.hours > 1 ? 60 : 15, async () => {
      const to = new Date(), from = new Date(to - choice.hours * 3_600_000);
      const { usage, stepSeconds, to: until } = await get(`/v1/async/usage?from=${from.toISOString()}&to=${to.toISOString()}&step=${choice.step}`);
      const data = (...values) => ({ times: usage.map((one) => Date.parse(one.at)), step: stepSeconds * 1000, until: Date.parse(until), values: values.map((of) => usage.map(of)) });
      tasks.show(data((one) => one.submitted, (one) => one.completed, (one) => one.failed));
      waits.show(data((one) => one.waitP50Seconds, (one) => one.waitP99Seconds));
      limits.show(data((one) => one.planLimitedSeconds, (one) => one.workerLimitedSeconds));
    });
  };
  fill(section, h("div", { class: "heading" }, h("h2", {}, "History"), steps, h("div", { class: "row", role: "group", "aria-label": "Span" }, choices)),
    h("div", { class: "charts" }, tasks.element, waits.element, limits.element));
  draw(chosen);
  return () => stop();
}
