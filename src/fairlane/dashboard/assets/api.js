// The API behind the session's cookie. Changes carry the session's token, which only our own pages can read.

const BASE = "/dashboard";
let token = "";

export const keep = (session) => { token = session.token; };

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
    throw new Error("The server does not answer.");
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  if (response.status === 401 && path !== "/login") location.reload();
  const failure = new Error(said(answer.error) ?? `The server answered ${response.status}.`);
  failure.status = response.status;
  throw failure;
}

function said(error) {
  if (!error) return undefined;
  const places = Array.isArray(error.details) ? error.details.map((one) => `${one.field} ${one.message}`) : [];
  return places.length ? `${error.message}: ${places.join("; ")}` : error.message;
}

export const get = (path) => ask("GET", path);

// Calls `show` with each event until the returned function is called. `tell` hears whether the line is up.
export function watch(show, tell) {
  const source = new EventSource(`${BASE}/events`);
  source.onmessage = (event) => { tell(true); show(JSON.parse(event.data)); };
  source.onerror = () => tell(false);
  return () => source.close();
}

// Runs `look` now and every so many seconds while the view is shown and the page visible.
export function repeat(seconds, look) {
  let over = false;
  let timer;
  const turn = async () => {
    if (!document.hidden) { try { await look(); } catch (error) { console.debug(error.message); } }
    if (!over) timer = setTimeout(turn, seconds * 1000);
  };
  turn();
  return () => { over = true; clearTimeout(timer); };
}
