// What happened to one task, step by step: as a band in proportion, and as a list with times and reasons.

import { h, set } from "./dom.js";
import { ended } from "./deliveries.js";
import { clock, day, exact, moment, span } from "./format.js";

// How an attempt ended, after "the attempt".
export const ENDINGS = {
  COMPLETED: "completed", FAILED: "failed", TIMED_OUT: "ran past its time limit", WORKER_LOST: "was lost with its worker", HANDED_BACK: "was handed back by its worker", CANCELED: "was canceled",
};
const LABEL_LEAST = 0.12;
const GOOD = "good", BAD = "bad", WARN = "warn", QUIET = "quiet";

// One thing that happened: { at, until, kind, title, notes, band, label }. Without `band` it has no part in the band; `label` is what it
// is called there, if not by its title.
export function steps({ createdAt, runAt = null, note = "", status, attempts, omitted = 0, endedAt = null, failure = null, why = null, tries = [], url = "" }, heard) {
  // The page knows the server's time to a second: it is not before what has happened.
  const now = Math.max(heard, createdAt, ...attempts.flatMap((one) => [one.startedAt, one.endedAt ?? 0]));
  const found = [{ at: createdAt, kind: QUIET, title: "Accepted", notes: [note] }];
  let free = runAt && runAt > createdAt ? runAt : createdAt;
  if (free > createdAt) found.push({ at: createdAt, until: Math.min(free, now), kind: QUIET, title: "Waited for its start time", notes: [`it was not to start before ${moment(free)}`], band: "later" });
  if (omitted) found.push({ at: attempts[0]?.startedAt ?? createdAt, kind: QUIET, title: `${omitted} earlier attempts are no longer kept`, notes: [] });
  attempts.forEach((one, index) => {
    if (one.startedAt > free) found.push({ at: free, until: one.startedAt, kind: QUIET, title: "Waited", notes: waitedFor(one.waited, one.startedAt - free, index), band: "waited" });
    const over = one.endedAt !== null, last = one.endedAt ?? now, good = one.ending === "COMPLETED" || !over, label = `Attempt ${one.number} ${over ? ENDINGS[one.ending] ?? one.ending : "runs"}`;
    found.push({ at: one.startedAt, until: last, kind: over ? (one.ending === "COMPLETED" ? GOOD : one.ending === "HANDED_BACK" ? WARN : BAD) : WARN, title: `${label}${one.code ? `: ${one.code}` : ""}`, label,
      notes: [one.message, one.cause, one.worker && `worker ${one.worker}`], band: over ? (good ? GOOD : BAD) : "running" });
    free = last;
    if (one.dueAt && one.dueAt > last) {
      found.push({ at: last, until: Math.min(one.dueAt, now), kind: WARN, title: "Pause before the next attempt", label: "Pause", notes: [one.dueAt > now ? `until ${clock(one.dueAt, true)}` : null], band: "later" });
      free = Math.min(one.dueAt, now);
    }
  });
  if (status === "QUEUED" && free < now && !(attempts.at(-1)?.dueAt > now) && !(runAt > now)) found.push({ at: free, until: now, kind: WARN, title: "Waits", notes: [why], band: "waited" });
  // An attempt that failed says it itself.
  if (status === "FAILED" && !attempts.length) found.push({ at: endedAt, kind: BAD, title: failure ?? "Ended before its first attempt", notes: [] });
  for (const one of tries) found.push({ at: one.at, kind: one.outcome === "delivered" ? GOOD : WARN, title: `Webhook, try ${one.number}: ${one.outcome}`, notes: [url, ended(one), one.answer] });
  return found;
}

// Why a wait was as long as it was; the rest of it is the organization's own: paused, or without credits.
function waitedFor(waited, total, index) {
  if (!waited) return [index ? "for its next attempt" : "for a slot and a worker"];
  const { slot, worker } = waited, rest = total - slot - worker;
  return [slot ? `for a slot: ${span(slot / 1000)}` : null, worker ? `for a worker: ${span(worker / 1000)}` : null, rest >= 1000 ? `while the organization was paused or its next task waited for credits: ${span(rest / 1000)}` : null];
}

export function timeline() {
  const band = h("div", { class: "band", role: "img" }), scale = h("div", { class: "scale" }), list = h("ol", { class: "timeline" });
  const element = h("div", {}, band, scale, list);
  return { element, show(found) {
    const parts = found.filter((one) => one.band && one.until > one.at);
    while (band.children.length > parts.length) band.lastChild.remove();
    while (band.children.length < parts.length) band.append(h("i"));
    const whole = parts.reduce((sum, one) => sum + one.until - one.at, 0);
    parts.forEach((one, index) => {
      const part = band.children[index];
      part.className = one.band;
      part.style.flexGrow = one.until - one.at;
      part.title = `${one.title}: ${span((one.until - one.at) / 1000)}`;
      set(part, (one.until - one.at) / whole < LABEL_LEAST ? [] : [h("span", {}, `${one.label ?? one.title} ${span((one.until - one.at) / 1000)}`)]);
    });
    band.hidden = !parts.length;
    band.setAttribute("aria-label", parts.map((one) => `${one.title}: ${span((one.until - one.at) / 1000)}`).join("; "));
    scale.hidden = !parts.length;
    if (parts.length) set(scale, [h("span", {}, stamp(parts[0].at)), h("span", {}, span((parts.at(-1).until - parts[0].at) / 1000)), h("span", {}, stamp(parts.at(-1).until))]);
    set(list, found.map((one) => h("li", { class: one.kind }, h("time", { title: moment(one.at) }, one.at === null ? "" : stamp(one.at, exact)),
      h("div", {}, h("strong", {}, one.title), one.notes.filter(Boolean).map((note) => h("p", {}, note))), h("span", {}, one.until === undefined ? "" : span((one.until - one.at) / 1000)))));
  } };
}

const stamp = (time, write = (one) => clock(one, true)) => `${new Date(time).toDateString() === new Date().toDateString() ? "" : `${day(time)}, `}${write(time)}`;
