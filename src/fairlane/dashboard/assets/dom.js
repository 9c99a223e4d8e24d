// Creates and fills elements. Text is always text: nothing from outside is ever parsed as HTML.

export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const STOPS = "a[href], button, input, select, summary, [tabindex]";

// Replaces the children and keeps the reader's place: the focused element, found by its text, and which details are open.
export function fill(element, ...children) {
  const stops = [...element.querySelectorAll(STOPS)], at = stops.indexOf(document.activeElement);
  const held = at < 0 ? null : mark(stops[at]);
  const open = [...element.querySelectorAll("details")].map((one) => one.open);
  element.replaceChildren(...children.flat().filter(Boolean));
  element.querySelectorAll("details").forEach((one, index) => { one.open = open[index] ?? one.open; });
  if (held === null) return;
  const now = [...element.querySelectorAll(STOPS)];
  const same = now.filter((one) => mark(one) === held);
  // Buttons of a table have the same text in each row: the position decides between them.
  (same.includes(now[at]) ? now[at] : same[0] ?? now[Math.min(at, now.length - 1)])?.focus({ preventScroll: true });
}

const mark = (element) => `${element.tagName} ${element.getAttribute("href") ?? element.id} ${element.textContent}`;

// Returns a table of these rows. `show` of a column returns text or nodes.
export function table(caption, columns, rows, empty = "None.", stack = false) {
  const made = rowsOf(caption, columns, { empty, stack });
  made.show(rows);
  return made.element;
}

// Returns a table and a function that shows rows in it. A row keeps its elements from one time to the next, found by `key`:
// only what differs is changed, so the reader's focus and selection stay. `stack`: on a phone each row is a block of lines.
// `named`: whether the caption is seen; it is read aloud in any case. A column that is `named` says its name on a phone, as numbers do.
export function rowsOf(caption, columns, { empty = "None.", key = null, stack = false, named = true } = {}) {
  const kind = (column) => [["number", "long", "id"].find((one) => column[one]), column.first ? "first" : null, column.named ? "named" : null].filter(Boolean).join(" ") || null;
  const none = h("tr", {}, h("td", { colspan: columns.length, class: "quiet" }, empty)), body = h("tbody");
  const element = h("table", { class: stack ? "stack" : null }, h("caption", { class: named ? null : "unseen" }, caption),
    h("thead", {}, h("tr", {}, columns.map((column) => h("th", { class: kind(column), scope: "col" }, column.name)))), body);
  let kept = new Map();
  return { element, show(rows) {
    const now = new Map(), held = document.activeElement;
    rows.forEach((row, index) => {
      const name = key ? key(row) : index;
      const one = kept.get(name) ?? made(columns, kind);
      now.set(name, one);
      columns.forEach((column, number) => set(one.cells[number], [column.show(row) ?? "–"].flat().filter((part) => part !== null && part !== undefined && part !== false)));
      if (body.children[index] !== one.element) body.insertBefore(one.element, body.children[index] ?? null);
    });
    kept = now;
    while (body.children.length > rows.length) body.lastChild.remove();
    if (!rows.length) body.append(none);
    if (held !== document.activeElement && body.contains(held)) held.focus({ preventScroll: true });
  } };
}

function made(columns, kind) {
  const cells = columns.map((column) => h("td", { class: kind(column), "data-name": column.name || null }));
  return { cells, element: h("tr", {}, cells) };
}

// Changes an element's content to this, unless it is the same already.
export function set(element, content) {
  const old = element.childNodes;
  const same = (part, node) => (typeof part === "string" ? node.nodeType === Node.TEXT_NODE && node.data === part : part === node || part.isEqualNode(node));
  if (old.length === content.length && content.every((part, index) => same(part, old[index]))) return;
  if (content.length === 1 && typeof content[0] === "string") element.textContent = content[0];
  else element.replaceChildren(...content);
}

export const facts = (pairs) =>
  h("dl", { class: "facts" }, pairs.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value ?? "–")]));

// Returns the name of a key, or a word for one without.
export const nameOf = (one) => one.name ?? h("span", { class: "quiet" }, "no name");

// Returns an input below its name, as filters have it.
export const field = (input, name) => h("span", { class: "field" }, h("label", { for: input.id, class: "quiet" }, name), input);

// Returns a number with its name. `show` takes text or nodes, and a note below it.
export function card(name, note = "") {
  const value = h("dd", {}, "–");
  const small = h("small", {}, joined(note));
  const element = h("div", { class: "card" }, h("dl", {}, h("dt", {}, name), value), small);
  return { element, show(content, more = note, kind = "") { set(value, [content].flat()); small.textContent = joined(more); small.className = kind; } };
}

// Keeps a number and its unit on one line.
const joined = (text) => text.replace(/(\d) /g, "$1\u00a0");

export function notice(text, kind = "") {
  const line = h("p", { class: kind }, text);
  document.getElementById("notices").append(line);
  setTimeout(() => line.remove(), 8000);
}

// Shows at the top of every page that the server does not answer, and how old the shown data is.
export function outage(down) {
  const line = document.getElementById("outage");
  if (down === !line.hidden) return;
  line.hidden = !down;
  line.textContent = down ? `The server does not answer. What is shown is as it was at ${new Date().toLocaleTimeString()}.` : "";
}

export function button(text, act, kind = "") {
  const made = h("button", { type: "button", class: kind }, text);
  // Not `disabled`, which would take the focus away from keyboard users.
  made.addEventListener("click", async () => {
    if (made.getAttribute("aria-disabled")) return;
    made.setAttribute("aria-disabled", "true");
    try { await act(); } catch (error) { notice(error.message, "bad"); } finally { made.removeAttribute("aria-disabled"); }
  });
  return made;
}

// Runs `act` when a form is sent. A refusal is shown next to the field that it names, otherwise next to the first field, and
// that field gets the focus. `named`: inputs by the API's names of their fields.
export function submits(form, act, named = {}) {
  const told = h("p", { class: "bad told", role: "alert", id: `told-${(tellers += 1)}` });
  const clear = () => {
    told.remove();
    form.querySelectorAll("[aria-invalid]").forEach((one) => { one.removeAttribute("aria-invalid"); describe(one, (id) => id !== told.id); });
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.getAttribute("aria-busy")) return;
    clear();
    form.setAttribute("aria-busy", "true");
    try { await act(); } catch (error) {
      const place = error.places?.find((one) => named[one.field]);
      const field = place ? named[place.field] : form.querySelector("input, select");
      told.textContent = error.message;
      field.setAttribute("aria-invalid", "true");
      describe(field, () => true, told.id);
      field.after(told);
      field.focus();
    } finally { form.removeAttribute("aria-busy"); }
  });
  form.addEventListener("input", clear);
  return form;
}
let tellers = 0;

// Keeps those descriptions of an element, and adds further ones.
function describe(element, kept, ...more) {
  const ids = [...more, ...(element.getAttribute("aria-describedby") ?? "").split(" ").filter((id) => id && kept(id))];
  if (ids.length) element.setAttribute("aria-describedby", ids.join(" ")); else element.removeAttribute("aria-describedby");
}

// Without TLS, except on localhost, a browser gives pages no clipboard, so the text is selected instead. `into`: where the
// element is put for that, if it is not on the page.
export const copies = (element, text = null, { name = "Copy", into = null } = {}) => button(name, async () => {
  const copied = await navigator.clipboard?.writeText(text ?? element.textContent).then(() => true, () => false);
  if (!copied) into?.append(element);
  if (!copied) getSelection().selectAllChildren(element);
  notice(copied ? "Copied." : "The text is selected: this browser lets a page copy only over HTTPS.");
});

export function badge(text) {
  const kind = { TIMED_OUT: "bad", WORKER_LOST: "bad", COMPLETED: "good", delivered: "good", live: "good", quiet: "good", FAILED: "bad", given_up: "bad", dead: "bad", firing: "bad",
    PROCESSING: "warn", QUEUED: "quiet", due: "quiet", trying: "warn", silent: "warn", draining: "warn" }[text] ?? "quiet";
  return h("span", { class: `badge ${kind}` }, text);
}
