// The API behind the session's cookie. Changes carry the session's token, which only our own pages can read.

import { notice, outage } from "./dom.js";

const BASE = "/dashboard";
const REOPEN_SECONDS = 2;
let token = "";
let ended = () => {};

export const keep = (session) => { token = session.token; };

// What to do when the session is over: its time has passed, or its key was revoked.
export const whenEnded = (act) => { ended = act; };

// The server's clock: a session's lease is compared with the clock that wrote it, not with the browser's.
let ahead = 0;
export const serverTime = () => Date.now() + ahead;

export async function ask(method, path, body, headers = {}) {
  const sent = { ...headers };
  if (method !== "GET") sent["x-fairlane-token"] = token;
  if (body !== undefined) sent["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(BASE + path, {
      method, headers: sent, body: body === undefined ? undefined : JSON.stringify(body), credentials: "same-origin",
    });
  } catch {
    outage(true);
    throw new Error("The server does not answer.");
  }
  outage(false);
  const at = Date.parse(response.headers.get("date"));
  if (at) ahead = at - Date.now();
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  if (response.status === 401 && path !== "/login") ended();
  const failure = new Error(said(answer.error) ?? `The server answered ${response.status}.`);
  failure.status = response.status;
  failure.places = places(answer.error);
  throw failure;
}

function said(error) {
  if (!error) return undefined;
  const told = places(error).map((one) => `${one.field} ${one.message}`);
  return told.length ? `${error.message}: ${told.join("; ")}` : error.message;
}

// The fields that a refusal names, with what is wrong with each.
const places = (error) => (Array.isArray(error?.details) ? error.details : []);

export const get = (path) => ask("GET", path);

// Calls `show` with each event until the returned function is called. `tell` hears whether the line is up.
export function watch(show, tell) {
  let source, timer, over = false;
  const open = () => {
    source = new EventSource(`${BASE}/events`);
    source.onmessage = (event) => { outage(false); tell(true); show(JSON.parse(event.data)); };
    source.onerror = () => {
      tell(false);
      // The browser tries again by itself after a broken line, but never after an answer that is a refusal.
      if (source.readyState === EventSource.CLOSED) timer = setTimeout(again, REOPEN_SECONDS * 1000);
    };
  };
  const again = async () => {
    if (over) return;
    const session = await get("/session").catch(() => undefined);
    if (over) return;
    if (session?.kind === null) ended();
    else open();
  };
  open();
  return () => { over = true; clearTimeout(timer); source.close(); };
}

// Runs `look` now, and again when the event stream says that something moved: a page that shows what rests asks for
// nothing. What the stream does not count is seen within a minute; while the line is down or silent, every three seconds.
export function follow(look) {
  let seen = "", moved = true, rested = 0, heard = Date.now();
  const close = watch(({ status, submitted, completed, failed }) => {
    const counts = JSON.stringify([status, submitted, completed, failed]);
    moved ||= counts !== seen;
    seen = counts;
    heard = Date.now();
  }, (up) => { moved ||= !up; });
  const stop = repeat(3, async () => {
    rested += 1;
    if (!moved && rested < 20 && Date.now() - heard < 5000) return;
    moved = false;
    rested = 0;
    await look();
  });
  return () => { close(); stop(); };
}

// Runs `look` now and every so many seconds while the view is shown and the page visible.
export function repeat(seconds, look) {
  let over = false, timer, told = "";
  const turn = async () => {
    if (!document.hidden) {
      try { await look(); told = ""; }
      catch (error) {
        // A refusal is told once and not each time; that nobody answers is said at the top.
        if (!over && error.status !== undefined && error.status !== 401 && error.message !== told) notice(error.message, "bad");
        told = error.message;
      }
    }
    if (!over) timer = setTimeout(turn, seconds * 1000);
  };
  turn();
  return () => { over = true; clearTimeout(timer); };
}
