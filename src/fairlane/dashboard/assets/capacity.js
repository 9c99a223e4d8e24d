// What the limits cost: the exact times, the advice that follows, and the history behind it.

import { get } from "./api.js";
import { facts, fill, h, table } from "./dom.js";
import { count, share, span } from "./format.js";
import { history, SPANS } from "./history.js";

export function capacity(content) {
  const advice = h("section"), charts = h("section");
  fill(content, h("h1", {}, "Capacity"), advice, charts);
  get("/v1/async/capacity").then((found) => fill(advice, h("h2", {}, "Advice"), h("p", { class: found.replayed.trusted === false ? "warn" : null }, found.advice), facts([
    ["Looked at", `${moments(found)}`], ["Limited by the plan", share(found.planLimitedShare)], ["Limited by workers", share(found.workerLimitedShare)],
    ["Limit now", count(found.max)], ["Slots used on average", found.slotsUsedAverage === null ? null : count(Math.round(found.slotsUsedAverage * 10) / 10)],
  ]), ...projections(found)), (error) => fill(advice, h("p", { class: "bad" }, error.message)));
  return history(charts, SPANS[1]);
}

const moments = (found) => `${new Date(found.from).toLocaleString()} to ${new Date(found.to).toLocaleString()}`;

// What was measured stands beside what other limits would have done, so that an estimate is never taken for a measurement.
const projections = (found) => (found.projections.length ? [
  h("h2", {}, "With other limits"), table(`The newest ${count(found.replayed.tasks)} finished tasks, as they were and replayed with more slots and workers enough for them`, [
    { name: "Slots", number: true, show: (one) => (one === found.replayed.measured ? "–" : count(one.max)) }, { name: "", show: (one) => (one === found.replayed.measured ? "measured" : found.replayed.trusted ? "estimate" : "estimate, not to be trusted") },
    { name: "Half wait less than", number: true, show: (one) => span(one.waitP50Seconds) },
    { name: "Nine of ten wait less than", number: true, show: (one) => span(one.waitP90Seconds) },
  ], [found.replayed.measured, ...found.projections].filter(Boolean)),
] : []);
