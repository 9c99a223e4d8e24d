// The organization's remaining credits, and its usage day by day.

import { get, repeat } from "./api.js";
import { card, fill, h, table } from "./dom.js";
import { count, moment, span } from "./format.js";

const DAYS = 30;
const DAY_MS = 86_400_000;
const UNCOUNTED = 1_000_000_000; // The number in the API's answer while credits are not counted.

export function usage(content) {
  const left = card("Credits left"), submitted = card("Submitted"), completed = card("Completed"), failed = card("Failed"), used = card("Slot time");
  const days = h("section");
  fill(content, h("h1", {}, "Usage"), h("div", { class: "cards" }, [left, submitted, completed, failed, used].map((one) => one.element)), days);
  return repeat(30, async () => {
    const to = Date.now(), from = to - (to % DAY_MS) - (DAYS - 1) * DAY_MS;
    const [credits, found] = await Promise.all([get("/v1/credits"), get(`/v1/async/usage?from=${new Date(from).toISOString()}&step=1d`)]);
    const { total } = found, during = `in ${DAYS} days, today included`;
    if (credits.remaining === UNCOUNTED) left.show("–", "not counted: tasks are free");
    else left.show(count(credits.remaining), credits.cycleResetsAt ? `${count(credits.perCycle)} more at ${moment(credits.cycleResetsAt)}` : "tasks are charged when they complete");
    submitted.show(count(total.submitted), during);
    completed.show(count(total.completed), during);
    failed.show(count(total.failed), during);
    used.show(span(total.slotSeconds), `slots in use, summed over time, ${during}`);
    fill(days, h("h2", {}, "Day by day"), table("Days in UTC, newest first", [
      { name: "Day", first: true, show: (one) => one.at.slice(0, 10) },
      { name: "Submitted", number: true, show: (one) => count(one.submitted) },
      { name: "Completed", number: true, show: (one) => count(one.completed) },
      { name: "Failed", number: true, show: (one) => count(one.failed) },
      { name: "Attempts", number: true, show: (one) => count(one.started) },
      { name: "Ran", number: true, show: (one) => span(one.runSeconds) },
      { name: "Slot time", number: true, show: (one) => span(one.slotSeconds) },
      { name: "Median wait", number: true, show: (one) => span(one.waitP50Seconds) },
    ], found.usage.filter((one) => one.submitted || one.started || one.completed || one.failed || one.slotSeconds).reverse(), "Nothing was submitted in these days.", true));
  });
}
