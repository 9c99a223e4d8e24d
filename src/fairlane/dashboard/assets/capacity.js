// The cost of the limits: exact times, the advice based on them, and the history.

import { get } from "./api.js";
import { facts, fill, h, table } from "./dom.js";
import { count, moment, share, span } from "./format.js";
import { history, SPANS } from "./history.js";

export function capacity(content) {
  const advice = h("section"), charts = h("section");
  fill(content, h("h1", {}, "Capacity"), advice, charts);
  get("/v1/async/capacity").then((found) => fill(advice, h("h2", {}, "Advice"), h("p", { class: found.replayed.trusted === false ? "warn" : null }, found.advice), facts([
    ["Period", `${moments(found)}`], ["Limited by the plan", share(found.planLimitedShare)], ["Limited by workers", share(found.workerLimitedShare)],
    ["Limit now", count(found.max)], ["Slots used on average", found.slotsUsedAverage === null ? null : count(Math.round(found.slotsUsedAverage * 10) / 10)],
  ]), ...projections(found)), (error) => fill(advice, h("p", { class: "bad" }, error.message)));
  return history(charts, SPANS[1]);
}

const moments = (found) => `${moment(found.from)} to ${moment(found.to)}`;

// Shows the measured waits next to the estimates for other limits, so that the two are never confused.
const projections = (found) => (found.projections.length ? [
  h("h2", {}, "With other limits"), table(`The newest ${count(found.replayed.tasks)} finished tasks: as measured, and replayed with more slots and enough workers`, [
    { name: "Slots", number: true, show: (one) => (one === found.replayed.measured ? "–" : count(one.max)) }, { name: "", show: (one) => (one === found.replayed.measured ? "measured" : found.replayed.trusted ? "estimate" : "estimate, not reliable") },
    { name: "Median wait", number: true, show: (one) => span(one.waitP50Seconds) },
    { name: "90th percentile of waits", number: true, show: (one) => span(one.waitP90Seconds) },
  ], [found.replayed.measured, ...found.projections].filter(Boolean)),
] : []);
