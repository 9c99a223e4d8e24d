// The API behind the session's cookie. Changes carry the session's token, which only our own pages can read.

import { notice, outage } from "./dom.js";

const BASE = "/dashboard";
const REOPEN_SECONDS = 2;
let token = "";
// The view of an organization that this operator's session has open, or null.
let view = null;
export const see = (opened) => { view = opened; };
const VIEWED = ["/v1/", "/access/"];
let ended = () => {};

export const keep = (session) => { token = session.token; };

// What to do when the session is over: its time has passed, or its key was revoked.
export const whenEnded = (act) => { ended = act; };

// The server's clock: a lease is compared with the clock that wrote it, not with the browser's.
let ahead = 0;
export const serverTime = () => Date.now() + ahead;

export async function ask(method, path, body, headers = {}, read = (response) => response.json().catch(() => ({}))) {
  const sent = { ...headers };
  if (method !== "GET") sent["x-fairlane-token"] = token;
  if (view && VIEWED.some((begins) => path.startsWith(begins))) sent["x-fairlane-view"] = view.view;
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
  // It has no milliseconds, so it is a bound: the time is less than a second after it.
  if (at) ahead = Math.min(Math.max(ahead, at - Date.now()), at + 1000 - Date.now());
  if (response.ok) return read(response);
  const answer = await response.json().catch(() => ({}));
  if (response.status === 401 && path !== "/login" && path !== "/enter") ended();
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

// Returns the body as it was sent: numbers that JavaScript cannot hold stay exact.
export const getText = (path) => ask("GET", path, undefined, {}, (response) => response.text());

// Calls `show` with each event until the returned function is called. `tell` is called with whether the connection is up.
export function watch(show, tell) {
  let source, timer, over = false;
  const open = () => {
    source = new EventSource(`${BASE}/events${view ? `?view=${view.view}` : ""}`);
    source.onmessage = (event) => { outage(false); tell(true); show(JSON.parse(event.data)); };
    source.onerror = () => {
      tell(false);
      // The browser reconnects by itself after a lost connection, but never after a refusal.
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

// Runs `look` now, and again when the event stream reports a change, so a page without changes sends no requests. Changes
// that the stream does not count are seen within a minute. While the stream is down or silent, `look` runs every three seconds.
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

// Runs `look` now and at this interval, while the view is shown and the page is visible.
export function repeat(seconds, look) {
  let over = false, timer, told = "";
  const turn = async () => {
    if (!document.hidden) {
      try { await look(); told = ""; }
      catch (error) {
        // Shows a refusal once, not each time. An outage is shown at the top of the page.
        if (!over && error.status !== undefined && error.status !== 401 && error.message !== told) notice(error.message, "bad");
        told = error.message;
      }
    }
    if (!over) timer = setTimeout(turn, seconds * 1000);
  };
  turn();
  return () => { over = true; clearTimeout(timer); };
}
