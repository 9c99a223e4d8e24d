// The lanes: a row for each organization, with its slots and what holds them, its queue, and why its next task waits.
// Only the rows on the screen exist, and only their organizations are asked for.

import { get, repeat, serverTime, watch } from "./api.js";
import { fill, h, set } from "./dom.js";
import { count, progress, several, share, span } from "./format.js";

const CELLS_MOST = 40, MARGIN_ROWS = 3, WINDOW_MOST = 100;
const REORDER_MS = 5000;
const TYPES_COLORED = 5;
const ORDERS = {
  queued: { name: "most queued first", by: (one) => [-one.queued, -one.used] },
  used: { name: "most slots in use first", by: (one) => [-one.used, -one.queued] },
  waits: { name: "longest wait first", by: (one) => [one.oldest_ready_at ?? Infinity, -one.queued] },
  failed: { name: "most failed first", by: (one) => [-one.failed, -one.queued] },
  name: { name: "by name", by: () => [0, 0] },
};
const BANDS = [{ name: "priority 8 to 10", kind: "high", from: 8 }, { name: "4 to 7", kind: "middle", from: 4 }, { name: "1 to 3", kind: "low", from: -Infinity }];

export function lanes(section, { most = Infinity } = {}) {
  const list = h("ol", { class: "lanes", "aria-label": "Organizations" }), legend = h("div", { class: "legend" }), told = h("span", { class: "quiet" });
  const wanted = h("input", { id: "wanted", type: "search", placeholder: "Find an organization", "aria-label": "Find an organization" });
  const order = h("select", { id: "order", "aria-label": "Order" }, Object.entries(ORDERS).map(([value, one]) => h("option", { value }, one.name)));
  const board = { all: [], shown: [], total: null, details: new Map(), rows: new Map(), types: new Map(), highest: 1, orderedAt: 0 };
  fill(section, h("div", { class: "heading" }, h("h2", {}, "Lanes ", h("small", {}, "slots, what holds them, and what waits")), told,
    h("div", { class: "row" }, most === Infinity ? [wanted, order] : h("a", { href: "#/lanes" }, "All lanes"))), legend,
  h("div", { class: "lane head", "aria-hidden": "true" }, ["Organization", "Slots", "In use", "Queue by priority", "Queued", "Oldest", "Share", "Why the next task waits"].map((name, index) => h("span", { class: `part-${index}` }, name))), list);

  const arrange = (force) => {
    const held = list.matches(":hover, :focus-within");
    if (!force && (held || Date.now() - board.orderedAt < REORDER_MS)) {
      // Rows stay where they are while a reader points at one; their numbers go on.
      const fresh = new Map(board.all.map((one) => [one.id, one]));
      board.shown = board.shown.map((one) => fresh.get(one.id) ?? one);
      if (board.shown.length) return;
    }
    board.orderedAt = Date.now();
    const text = wanted.value.trim().toLowerCase(), { by } = ORDERS[order.value];
    const keyed = board.all.filter((one) => one.name.toLowerCase().includes(text)).map((one) => ({ one, key: by(one) }));
    keyed.sort((left, right) => left.key[0] - right.key[0] || left.key[1] - right.key[1] || (left.one.name < right.one.name ? -1 : 1));
    board.shown = keyed.slice(0, most).map(({ one }) => one);
  };
  const draw = () => paint(list, board, most);
  let looking = false;
  const look = async () => {
    if (looking) return;
    looking = true;
    try { await ask(); } finally { looking = false; }
  };
  const ask = async () => {
    const ids = visible(list, board).map((one) => one.id).slice(0, WINDOW_MOST);
    if (!ids.length) return;
    const { organizations } = await get(`/admin/v1/lanes?organizations=${ids.join(",")}`);
    board.details = new Map(organizations.map((one) => [one.id, one]));
    know(board, organizations);
    set(legend, marks(board));
    draw();
  };
  const leave = watch((now) => {
    const first = !board.all.length;
    board.all = now.busiest;
    board.total = now.total;
    board.highest = Math.max(1, ...now.busiest.map((one) => one.queued));
    arrange(first);
    set(told, [now.total.organizations > now.busiest.length ? `the ${count(now.busiest.length)} busiest of ${several(now.total.organizations, "organization")}` : ""]);
    draw();
    // A row that came into sight is not left half drawn until the next look.
    if (visible(list, board).some((one) => !board.details.has(one.id))) look().catch(() => {});
  }, (up) => { list.classList.toggle("stale", !up); });
  const stop = repeat(1, look);
  let frame = 0;
  const moved = () => { frame ||= requestAnimationFrame(() => { frame = 0; draw(); }); };
  const again = () => { arrange(true); draw(); look().catch(() => {}); };
  wanted.addEventListener("input", again);
  order.addEventListener("change", again);
  addEventListener("scroll", moved, { passive: true });
  addEventListener("resize", moved);
  return () => { leave(); stop(); removeEventListener("scroll", moved); removeEventListener("resize", moved); cancelAnimationFrame(frame); };
}

// Types get their color in the order of their names at the first look; later ones share the last.
function know({ types }, organizations) {
  const names = organizations.flatMap((one) => one.holders.filter((holder) => !holder.call).map((holder) => holder.task_type));
  for (const name of [...new Set(names)].sort()) if (!types.has(name)) types.set(name, Math.min(types.size, TYPES_COLORED));
}

function marks({ types }) {
  const named = [...types].filter(([, index]) => index < TYPES_COLORED).map(([name, index]) => [`type-${index}`, name]);
  if (types.size > TYPES_COLORED) named.push([`type-${TYPES_COLORED}`, "other types"]);
  return [...named, ["call", "call"], ["over", "past its time limit"], ["free", "free"]].map(([kind, name]) => h("span", {}, h("i", { class: `cell ${kind}` }), name))
    .concat(h("span", {}, "shade: how much of its time limit has passed"), ...BANDS.map((band) => h("span", {}, h("i", { class: `cell ${band.kind}` }), band.name)), h("span", {}, h("i", { class: "cell later" }), "starts later"));
}

const height = (list) => parseFloat(getComputedStyle(list).getPropertyValue("--row")) || 48;

function visible(list, board) {
  const row = height(list), { top } = list.getBoundingClientRect();
  const first = Math.max(0, Math.floor(-top / row) - MARGIN_ROWS), last = Math.ceil((innerHeight - top) / row) + MARGIN_ROWS;
  return board.shown.slice(first, Math.max(first, last)).map((one, index) => Object.assign(one, { place: first + index }));
}

function paint(list, board) {
  const row = height(list), rows = visible(list, board), now = new Map();
  list.style.height = `${Math.max(1, board.shown.length) * row}px`;
  for (const one of rows) {
    const drawn = board.rows.get(one.id) ?? lane(one);
    now.set(one.id, drawn);
    drawn.element.style.top = `${one.place * row}px`;
    drawn.element.setAttribute("aria-posinset", one.place + 1);
    drawn.element.setAttribute("aria-setsize", board.shown.length);
    drawn.show(one, board.details.get(one.id), board);
  }
  for (const [id, drawn] of board.rows) if (!now.has(id)) drawn.element.remove();
  board.rows = now;
  // The order of the elements is that of the rows, so that the keyboard goes from one to the next.
  rows.forEach((one, index) => {
    const { element } = now.get(one.id);
    if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
  });
  list.classList.toggle("none", board.total !== null && !board.shown.length);
}

function lane(one) {
  const parts = Array.from({ length: 8 }, (_, index) => h("span", { class: `part-${index}` }));
  const [name, slots, used, queue, queued, oldest, weight, why] = parts;
  name.append(h("a", { href: `#/organization/${encodeURIComponent(one.name)}`, title: `${one.name}, plan ${one.plan}` }, one.name), h("small", {}, one.plan));
  const cells = h("span", { class: "cells", role: "img" }), bar = h("span", { class: "bar", role: "img" });
  slots.append(cells);
  queue.append(bar);
  return { element: h("li", { class: "lane" }, parts), show(one, more, board) {
    const now = more ?? one;
    used.textContent = now.slots_max === null ? "–" : `${count(now.used)} of ${count(now.slots_max)}`;
    // All of a row is from one reading, so that its parts agree.
    queued.textContent = count(now.queued);
    oldest.textContent = one.oldest_ready_at === null || !now.queued ? "–" : span(Math.max(0, serverTime() - one.oldest_ready_at) / 1000);
    if (!more) return;
    weight.textContent = `${board.total?.used ? share(more.used / board.total.used) : "–"} · weight ${count(more.weight)}`;
    fillCells(cells, more, board.types);
    fillBar(bar, more, board.highest);
    set(why, reason(more));
  } };
}

function fillCells(place, one, types) {
  const now = serverTime(), most = one.slots_max ?? one.used;
  const shown = Math.min(Math.max(most, one.holders.length), one.used > CELLS_MOST || most > CELLS_MOST ? CELLS_MOST - 2 : CELLS_MOST);
  while (place.children.length > shown) place.lastChild.remove();
  while (place.children.length < shown) place.append(h("i", { class: "cell free" }));
  let over = 0;
  const kinds = new Map(), holders = [...one.holders];
  for (const holder of holders) {
    over += now > holder.deadline_at;
    kinds.set(holder.task_type, (kinds.get(holder.task_type) ?? 0) + 1);
  }
  for (let index = 0; index < shown; index += 1) {
    const cell = place.children[index], holder = holders[index];
    const kind = holder ? `cell ${holder.call ? "call" : `type-${types.get(holder.task_type) ?? TYPES_COLORED}`}${now > holder.deadline_at ? " over" : ""}` : index < one.used ? "cell taken" : "cell free";
    if (cell.className !== kind) cell.className = kind;
    const part = holder ? Math.min(1, Math.max(0, (now - holder.started_at) / Math.max(1, holder.deadline_at - holder.started_at))).toFixed(2) : "0";
    if (cell.style.getPropertyValue("--part") !== part) cell.style.setProperty("--part", part);
    const title = holder ? describe(holder, now) : "";
    if (cell.title !== title) cell.title = title;
  }
  place.dataset.more = most > shown ? `+${count(most - shown)}` : "";
  const held = [...kinds].map(([name, number]) => `${number} ${name}`).join(", ");
  place.setAttribute("aria-label", `${count(one.used)} of ${several(one.slots_max ?? 0, "slot")} in use${held ? `: ${held}` : ""}${over ? `; ${over} past the time limit` : ""}`);
}

const describe = (holder, now) => `${holder.task_type}${holder.call ? ", a call" : ""}, attempt ${holder.attempt} of ${holder.attempts}, ${span(Math.max(0, now - holder.started_at) / 1000)} of ${span((holder.deadline_at - holder.started_at) / 1000)}${holder.progress ? `, ${said(holder.progress)}` : ""}`;

const said = ({ done, total, note }) => progress({ fraction: total === null ? done : total ? done / total : null, done, note });

// The bar grows with the logarithm of the queue; its parts are shares of it.
function fillBar(place, one, highest) {
  const sums = BANDS.map(() => 0);
  let later = 0;
  for (const { priority, ready, waiting } of one.levels) { sums[BANDS.findIndex((band) => priority >= band.from)] += ready; later += waiting; }
  const parts = [...BANDS.map((band, index) => [band.kind, sums[index], band.name]), ["later", later, "start later"]].filter(([, number]) => number);
  const total = parts.reduce((sum, [, number]) => sum + number, 0), width = total ? Math.max(0.06, Math.log10(total + 1) / Math.log10(highest + 1)) : 0;
  while (place.children.length > parts.length) place.lastChild.remove();
  while (place.children.length < parts.length) place.append(h("i"));
  parts.forEach(([kind, number], index) => { place.children[index].className = kind; place.children[index].style.width = `${Math.min(1, width) * number / total * 100}%`; });
  place.setAttribute("aria-label", total ? parts.map(([, number, name]) => `${count(number)} ${name}`).join(", ") : "The queue is empty");
  place.title = total ? place.getAttribute("aria-label") : "";
}

// Says why the next task has not started, in words and with what to do about it where there is something.
function reason({ next, queued, slots_max: most, paused, disabled }) {
  if (disabled) return [h("span", { class: "badge bad" }, "disabled")];
  if (paused) return [h("span", { class: "badge warn" }, "paused"), queued ? " by an operator" : ""];
  if (!next) return [queued ? "its tasks start later" : ""];
  switch (next.reason) {
    case "ORGANIZATION_AT_LIMIT": return [h("b", {}, most === 1 ? "its slot is taken" : `all ${count(most)} slots are taken`)];
    case "TYPE_UNSERVED": return [h("span", { class: "badge bad" }, `no worker serves ${next.task_type}`)];
    case "TYPE_AT_LIMIT": return [h("b", {}, `${next.task_type} is at its limit`)];
    case "WORKERS_BUSY": return [h("b", {}, "workers are busy"), ", it is next"];
    case "FAIR_TURN": return [h("b", {}, "workers are busy"), `, ${several(next.rivals, "organization")} come${next.rivals === 1 ? "s" : ""} first`];
    case "CREDITS_HELD": return [h("b", {}, "running tasks hold its credits")];
    case "LIMIT_UNKNOWN": return [h("span", { class: "badge warn" }, "its plan has no slots")];
    default: return ["it starts now"];
  }
}
