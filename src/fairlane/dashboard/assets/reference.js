// The reference of this server's API, written from /openapi.json, with a form to send each request with the reader's key.
// The key stays in its field: it is stored nowhere, and no text that can be copied contains it.

import { copies, h, submits, table } from "./dom.js";

const DEPTH = 6;
const SHOWN_MOST = 200_000;
const NOT_ASKED = ["If-None-Match", "traceparent"];
const KEY_FIELD = "key";

let description;

// Schemas -------------------------------------------------------------------------------------------------------------

const found = (part) => {
  let at = part;
  while (at?.$ref) at = at.$ref.slice(2).split("/").reduce((inside, name) => inside[name.replaceAll("~1", "/").replaceAll("~0", "~")], description);
  return at ?? {};
};

const choices = (schema) => schema.oneOf ?? schema.anyOf ?? [];

function typed(part) {
  const schema = found(part);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(", ");
  if (choices(schema).length) return [...new Set(choices(schema).map(typed))].join(" or ");
  if (schema.type === "array") return `array of ${typed(schema.items ?? {})}`;
  const name = [schema.type ?? "any JSON"].flat().join(" or ");
  return schema.format ? `${name}, ${schema.format}` : name;
}

function bounds(part) {
  const schema = found(part), said = [];
  const say = (name, word) => { if (schema[name] !== undefined) said.push(`${word} ${schema[name]}`); };
  say("minimum", "at least"); say("maximum", "at most"); say("exclusiveMinimum", "more than"); say("exclusiveMaximum", "less than");
  say("minLength", "length at least"); say("maxLength", "length at most"); say("minItems", "items at least"); say("maxItems", "items at most");
  say("pattern", "pattern");
  if (schema.default !== undefined) said.push(`default ${JSON.stringify(schema.default)}`);
  return said.join("; ");
}

// Returns the fields of a schema, each with its dotted path; the fields of a schema that contains itself end there.
function fields(part, path = "", above = []) {
  const schema = found(part);
  if (above.includes(schema) || above.length > DEPTH) return [];
  const inside = [...above, schema], required = schema.required ?? [];
  const own = Object.entries(schema.properties ?? {}).flatMap(([name, one]) => {
    const at = path ? `${path}.${name}` : name;
    return [{ name: at, schema: one, required: required.includes(name) }, ...fields(one, at, inside)];
  });
  const items = schema.type === "array" ? fields(schema.items ?? {}, `${path}[]`, inside) : [];
  return [...own, ...items, ...choices(schema).flatMap((one) => fields(one, path, inside))];
}

function example(part, above = []) {
  const schema = found(part);
  if (schema.const !== undefined) return schema.const;
  if (schema.examples?.length) return schema.examples[0];
  if (schema.default !== undefined && schema.default !== null) return schema.default;
  if (schema.enum) return schema.enum[0];
  if (above.includes(schema) || above.length > DEPTH) return null;
  const inside = [...above, schema];
  if (choices(schema).length) return example(choices(schema)[0], inside);
  const type = [schema.type].flat()[0];
  if (type === "array") return [example(schema.items ?? {}, inside)];
  if (type === "object" || schema.properties) {
    const required = schema.required ?? [];
    return Object.fromEntries(Object.entries(schema.properties ?? {}).filter(([name]) => required.includes(name)).map(([name, one]) => [name, example(one, inside)]));
  }
  if (type === "integer" || type === "number") return schema.minimum ?? 1;
  if (type === "boolean") return true;
  if (type === "null") return null;
  return { uri: "https://example.com/", "date-time": new Date().toISOString(), date: "2030-01-31", uuid: crypto.randomUUID?.() }[schema.format] ?? "text";
}

const fieldTable = (caption, rows) => table(caption, [
  { name: "Field", show: (row) => h("code", {}, row.name) },
  { name: "Type", show: (row) => typed(row.schema) },
  { name: "Needed", show: (row) => (row.required ? "yes" : "no") },
  { name: "Means", long: true, show: (row) => marked([found(row.schema).description, bounds(row.schema)].filter(Boolean).join(" · ") || "–") },
], rows, "No fields.");

const paragraphs = (text) => (text ?? "").split("\n\n").filter(Boolean).map((one) => h("p", {}, ...marked(one)));

// Text between backquotes is code; everything else is text.
const marked = (text) => text.replaceAll("``", "`").split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));

const json = (value) => h("pre", {}, JSON.stringify(value, null, 2));

// Trying --------------------------------------------------------------------------------------------------------------

const keyField = () => document.getElementById(KEY_FIELD);

function tries(method, path, operation, body) {
  const parameters = (operation.parameters ?? []).map(found).filter((one) => !NOT_ASKED.includes(one.name));
  const inputs = new Map(parameters.map((one) => [one, h("input", { autocomplete: "off", spellcheck: "false", required: one.in === "path" })]));
  const text = body === undefined ? null : h("textarea", { spellcheck: "false" }, JSON.stringify(body, null, 2));
  const answer = h("div", { role: "status" }), open = operation.security?.length === 0;
  const form = h("form", { class: "try" }, h("h4", {}, "Try it"),
    parameters.map((one) => h("label", {}, h("code", {}, one.name), " ", h("small", {}, ...marked(`${one.in}; ${typed(one.schema)} ${one.description ?? found(one.schema).description ?? ""}`)), inputs.get(one))),
    text ? h("label", {}, "Body", text) : null,
    h("div", { class: "row" }, h("button", { class: method === "DELETE" ? "danger" : "primary" }, `Send ${method}`)), answer);
  return submits(form, async () => {
    const key = keyField().value.trim();
    if (!open && !key) {
      keyField().focus();
      answer.replaceChildren(h("p", { class: "bad" }, "Enter your key at the top of this page first."));
      return;
    }
    if (method === "DELETE" && !confirm(`Send ${method} ${path}? It changes what your organization has.`)) return;
    const request = asked(method, path, inputs, text?.value);
    answer.replaceChildren(h("p", {}, "Waiting for the answer…"));
    await show(answer, request, open ? null : key);
  });
}

function asked(method, path, inputs, body) {
  const query = new URLSearchParams(), headers = {};
  let filled = path;
  for (const [parameter, input] of inputs) {
    const value = input.value.trim();
    if (parameter.in === "path") filled = filled.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (value && parameter.in === "query") query.set(parameter.name, value);
    else if (value) headers[parameter.name] = value;
  }
  return { method, path: filled + (query.size ? `?${query}` : ""), headers, body };
}

async function show(place, request, key) {
  const began = performance.now();
  const headers = { ...request.headers, ...(key === null ? {} : { authorization: `Bearer ${key}` }) };
  let response, text;
  try {
    response = await fetch(request.path, { method: request.method, headers, body: request.body, credentials: "omit", cache: "no-store" });
    text = await response.text();
  } catch {
    place.replaceChildren(h("p", { class: "bad" }, "The server does not answer."), command(request, key));
    return;
  }
  const told = [...response.headers].filter(([name]) => /^(x-|retry-after|location|etag|preference-applied)/.test(name));
  place.replaceChildren(
    h("p", { class: response.ok ? "good" : "bad" }, `${response.status} in ${Math.round(performance.now() - began)} ms`),
    h("pre", {}, pretty(text)),
    h("details", {}, h("summary", {}, "Headers of the answer"), h("pre", {}, told.map(([name, value]) => `${name}: ${value}`).join("\n"))),
    command(request, key));
}

function pretty(text) {
  const whole = text.length > SHOWN_MOST ? `${text.slice(0, SHOWN_MOST)}\n… ${text.length - SHOWN_MOST} more characters` : text;
  try { return JSON.stringify(JSON.parse(text), null, 2).slice(0, SHOWN_MOST); } catch { return whole; }
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function command(request, key) {
  const parts = [`curl -X ${request.method} ${quoted(location.origin + request.path)}`];
  if (key !== null) parts.push('-H "Authorization: Bearer $FAIRLANE_API_KEY"');
  for (const [name, value] of Object.entries(request.headers)) parts.push(`-H ${quoted(`${name}: ${value}`)}`);
  if (request.body !== undefined) parts.push(`-d ${quoted(request.body)}`);
  const text = h("pre", {}, parts.join(" \\\n  "));
  return h("details", {}, h("summary", {}, "The same request with curl"), text, copies(text));
}

// Pages ---------------------------------------------------------------------------------------------------------------

// Returns an entry that is filled when it is opened: a long description costs nothing until then.
function entry(id, heading, fill) {
  const inside = h("div");
  const made = h("details", { class: "operation", id }, h("summary", {}, heading), inside);
  made.addEventListener("toggle", () => { if (made.open && !inside.firstChild) inside.append(...fill().filter(Boolean)); });
  return made;
}

function answered(operation) {
  return Object.entries(operation.responses ?? {}).map(([status, part]) => {
    const response = found(part), content = response.content?.["application/json"] ?? {};
    const shown = Object.values(content.examples ?? {}).map((one) => found(one).value);
    const rows = fields(content.schema ?? {});
    return h("details", {}, h("summary", {}, `${status}: ${(response.description ?? "").split("\n")[0].replaceAll("`", "")}`),
      paragraphs(response.description), shown.slice(0, 2).map(json), rows.length ? fieldTable("Fields", rows) : null);
  });
}

function operationEntry(method, path, operation) {
  const body = operation.requestBody?.content?.["application/json"]?.schema;
  const parameters = (operation.parameters ?? []).map(found).map((one) => ({ name: one.name, schema: { ...found(one.schema), description: one.description ?? found(one.schema).description }, required: one.in === "path" }));
  return entry(operation.operationId, [h("span", { class: `method ${method}` }, method), h("code", {}, path), h("span", { class: "quiet" }, operation.summary)], () => [
    ...paragraphs(operation.description),
    parameters.length ? fieldTable("Parameters", parameters) : null,
    body ? fieldTable("Body", fields(body)) : null,
    h("h3", {}, "Answers"), ...answered(operation),
    tries(method, path, operation, body === undefined ? undefined : example(body)),
  ]);
}

function typeEntry(name, submission) {
  const payload = found(submission.properties.payload), path = "/v1/async/task";
  const call = description.paths[Object.keys(description.paths).find((one) => description.paths[one].post?.operationId === `call_${name.toLowerCase()}`)]?.post;
  return entry(`type-${name}`, [h("code", {}, name), h("span", { class: "quiet" }, ...marked((payload.description ?? "").split("\n")[0]))], () => [
    ...paragraphs((payload.description ?? "").split("\n").slice(1).join("\n")),
    fieldTable("Payload", fields(payload)),
    call ? h("p", {}, "To run one at once and wait for its result: ", h("a", { href: `#${call.operationId}` }, call.summary), ".") : null,
    tries("POST", path, description.paths[path].post, { taskType: name, payload: example(payload) }),
  ]);
}

function opened() {
  const entry = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (entry?.tagName === "DETAILS") { entry.open = true; entry.scrollIntoView(); }
}

function page() {
  const types = Object.entries(found(description.components.schemas.Submission).discriminator.mapping);
  const groups = new Map();
  for (const [path, methods] of Object.entries(description.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const tag = operation.tags[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operationEntry(method.toUpperCase(), path, operation));
    }
  }
  const title = (text) => text[0].toUpperCase() + text.slice(1);
  const key = h("input", { id: KEY_FIELD, type: "password", autocomplete: "off", spellcheck: "false", placeholder: "sk_live_…" });
  return [
    h("h1", {}, "API reference"),
    h("p", { class: "quiet" }, `fairlane ${description.info.version} at ${location.origin}. ${description.info.description}`),
    submits(h("form", { class: "card key" }, h("label", {}, "Your key, for the forms below", key), h("small", { class: "quiet" }, "It stays on this page until you close it, and is sent only to this server.")), async () => {}),
    h("ul", { class: "contents" }, ["task types", ...groups.keys()].map((name) => h("li", {}, h("a", { href: `#group-${name.replace(" ", "-")}` }, title(name))))),
    h("h2", { class: "group", id: "group-task-types" }, "Task types"),
    ...types.map(([name, reference]) => typeEntry(name, found({ $ref: reference }))),
    ...[...groups].flatMap(([name, entries]) => [h("h2", { class: "group", id: `group-${name}` }, title(name)), ...entries]),
  ];
}

const content = document.getElementById("content");
try {
  const response = await fetch("/openapi.json");
  if (!response.ok) throw new Error(`The server answered ${response.status}.`);
  description = await response.json();
  content.replaceChildren(...page());
  addEventListener("hashchange", opened);
  opened();
} catch (error) {
  content.replaceChildren(h("p", { class: "bad", role: "alert" }, `The reference cannot be shown: ${error.message}`));
}
