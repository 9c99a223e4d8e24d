// Making and filling elements. Text is always text: nothing from outside is ever parsed as HTML.

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

export const fill = (element, ...children) => element.replaceChildren(...children.flat().filter(Boolean));

export function table(caption, columns, rows, empty = "None.") {
  const cell = (tag, column, content) =>
    h(tag, { class: column.number ? "number" : null, scope: tag === "th" ? "col" : null }, content ?? "–");
  const body = rows.length
    ? rows.map((row) => h("tr", {}, columns.map((column) => cell("td", column, column.show(row)))))
    : [h("tr", {}, h("td", { colspan: columns.length, class: "quiet" }, empty))];
  return h("table", {}, h("caption", {}, caption),
    h("thead", {}, h("tr", {}, columns.map((column) => cell("th", column, column.name)))), h("tbody", {}, body));
}

export const facts = (pairs) =>
  h("dl", { class: "facts" }, pairs.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value ?? "–")]));

export function card(name, note = "") {
  const value = h("dd", {}, "–");
  const small = h("small", {}, note);
  const element = h("div", { class: "card" }, h("dl", {}, h("dt", {}, name), value), small);
  return { element, show(text, more = note) { value.textContent = text; small.textContent = more; } };
}

export function notice(text, kind = "") {
  const line = h("p", { class: kind }, text);
  document.getElementById("notices").append(line);
  setTimeout(() => line.remove(), 8000);
}

export function button(text, act, kind = "") {
  const made = h("button", { type: "button", class: kind }, text);
  made.addEventListener("click", async () => {
    made.disabled = true;
    try { await act(); } catch (error) { notice(error.message, "bad"); } finally { made.disabled = false; }
  });
  return made;
}

export function badge(text) {
  const kind = { COMPLETED: "good", delivered: "good", live: "good", FAILED: "bad", given_up: "bad", dead: "bad",
    PROCESSING: "warn", QUEUED: "quiet", due: "quiet", trying: "warn" }[text] ?? "quiet";
  return h("span", { class: `badge ${kind}` }, text);
}
