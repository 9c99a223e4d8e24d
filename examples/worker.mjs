// A worker in Node, with nothing but its standard library. See docs/reference/worker-protocol.md.
//
//   FAIRLANE_SERVER=http://127.0.0.1:8000 FAIRLANE_WORKER_KEY=wk_live_… node examples/worker.mjs

import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as pause } from "node:timers/promises";

const HANDLERS = {
  COUNT_WORDS: async ({ text }, signal) => ({ words: text.split(/\s+/).filter(Boolean).length }),
};
const PLACES = 4;
const SERVER = process.env.FAIRLANE_SERVER ?? "http://127.0.0.1:8000";
const HEADERS = { authorization: `Bearer ${process.env.FAIRLANE_WORKER_KEY}`, "content-type": "application/json" };

// Send a message until it is answered: each is safe to repeat. 410 and other refusals are the caller's.
async function send(method, path, message) {
  for (;;) {
    const answer = await fetch(`${SERVER}/worker/v1/${path}`, { method, headers: HEADERS, body: JSON.stringify(message) }).catch(() => null);
    if (answer?.ok) return answer.json();
    if (answer && answer.status < 500 && answer.status !== 429) throw Object.assign(new Error(await answer.text()), { status: answer.status });
    await answer?.body?.cancel();
    await pause(500 + 500 * Math.random());
  }
}

// One session: free places are offered in exchanges, reports travel with the next one.
async function serve(stopping) {
  const { session, renew_seconds } = await send("POST", "sessions", { name: `node-${hostname()}-${process.pid}`, types: Object.keys(HANDLERS), places: PLACES });
  const running = new Map(), open = new Map(); // Leases and what aborts them; exchanges without an answer and their places.
  let free = PLACES, reports = [], over, fail;
  const ended = new Promise((resolve, reject) => { over = resolve; fail = reject; });

  async function exchange() {
    if (stopping.aborted ? !reports.length : !free && !reports.length) return;
    const id = randomUUID(), places = stopping.aborted ? 0 : free;
    const message = { session, id, places, reports, wait_seconds: 5 };
    free -= places;
    reports = [];
    open.set(id, places);
    const { leases, cancel, kept, kept_by, draining } = await send("POST", "exchange", message);
    free += open.get(id) - leases.length;
    open.delete(id);
    if (kept) { // These places now wait in another exchange, or came back with its answer already.
      free -= kept;
      if (open.has(kept_by)) open.set(kept_by, open.get(kept_by) + kept);
      else free += kept;
    }
    if (stopping.aborted) reports.push(...leases.map(({ lease }) => ({ lease, outcome: "released" })));
    else for (const lease of leases) run(lease);
    for (const lease of cancel) running.get(lease)?.abort("canceled");
    if (draining) await pause(1000);
    next();
  }

  async function run({ lease, task_type, payload, timeout_seconds }) {
    const stop = new AbortController(), signal = AbortSignal.any([stop.signal, AbortSignal.timeout(1000 * timeout_seconds)]);
    running.set(lease, stop);
    const cut = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    const report = await Promise.race([HANDLERS[task_type](payload, signal), cut]).then(
      (result) => ({ lease, outcome: "completed", result }),
      (error) => ({ lease, outcome: "failed", cause: String(error?.stack ?? error), reason: error?.name === "TimeoutError" ? "overdue" : "" }));
    if (!running.delete(lease)) return; // The session is gone, and with it this attempt.
    reports.push(report);
    free += 1;
    next();
  }

  const next = () => (stopping.aborted && !running.size && !reports.length && !open.size ? over() : exchange().catch(fail));
  const renewing = setInterval(() => send("POST", `sessions/${session}/renew`, { leases: [...running.keys()], exchanges: [...open.keys()] })
    .then(({ cancel }) => cancel.forEach((lease) => running.get(lease)?.abort("canceled")), fail), 1000 * renew_seconds);
  stopping.addEventListener("abort", next);
  next();
  try {
    await ended;
    await send("DELETE", `sessions/${session}`, { reason: "drained" });
  } finally {
    clearInterval(renewing);
    const left = [...running.values()];
    running.clear();
    left.forEach((stop) => stop.abort("the session is gone"));
  }
}

const stopping = new AbortController();
for (const name of ["SIGTERM", "SIGINT"]) process.on(name, () => stopping.abort());
while (!stopping.signal.aborted) {
  await serve(stopping.signal).catch((error) => { if (error.status !== 410) throw error; });
}
process.exit(0);
