// Programs to copy: the state of the queue, and a task from submission to result, in curl, Python and Node.

import { copies, fill, h, notice } from "./dom.js";

const DEPTH_MOST = 5;

export function snippets(content) {
  const chosen = h("select", { id: "type" }), programs = h("div");
  let schemas = {};
  const draw = () => fill(programs, written(location.origin, chosen.value, example(schemas[`Payload.${chosen.value}`], schemas)).map(([name, text]) =>
    program(name, h("pre", { tabindex: 0 }, text))));
  chosen.addEventListener("change", draw);
  fill(content, h("h1", {}, "Code"), h("p", {}, "The key is read from the variable FAIRLANE_API_KEY. All requests: ", h("a", { href: "/openapi.json" }, "openapi.json")),
    h("div", { class: "row" }, h("label", { for: "type", class: "quiet" }, "Task type"), chosen), programs);
  described().then((found) => {
    schemas = found;
    fill(chosen, Object.keys(found).filter((name) => name.startsWith("Payload.")).map((name) => h("option", {}, name.slice("Payload.".length))));
    draw();
  }).catch((error) => notice(error.message, "bad"));
}

// Returns the request that submits a task of the first type, to show to an organization that has none yet.
export async function firstTask() {
  const schemas = await described(), type = Object.keys(schemas).find((name) => name.startsWith("Payload."));
  if (!type) return null;
  const [name, text] = written(location.origin, type.slice("Payload.".length), example(schemas[type], schemas))[1];
  return program(name, h("pre", { tabindex: 0 }, text));
}

const program = (name, text) => h("section", {}, h("h2", {}, name), text, copies(text));

async function described() {
  const response = await fetch("/openapi.json");
  if (!response.ok) throw new Error(`The API's description cannot be read: ${response.status}.`);
  return (await response.json()).components.schemas;
}

// Returns a valid payload: every required field, with a value of its type.
function example(schema, schemas, depth = 0) {
  const one = schema?.$ref ? schemas[schema.$ref.split("/").pop()] : schema;
  if (!one || depth > DEPTH_MOST) return {};
  if (one.default !== undefined || one.const !== undefined) return one.default ?? one.const;
  if (one.enum || one.examples) return (one.examples ?? one.enum)[0];
  const part = one.anyOf?.[0] ?? one.oneOf?.[0] ?? one.allOf?.[0];
  if (part) return example(part, schemas, depth + 1);
  switch (Array.isArray(one.type) ? one.type[0] : one.type) {
    case "string": return one.format === "uri" ? "https://example.com/" : "text".padEnd(one.minLength ?? 0, "x");
    case "integer": case "number": return one.minimum ?? (one.exclusiveMinimum ?? 0) + 1;
    case "boolean": return true;
    case "array": return Array.from({ length: one.minItems ?? 0 }, () => example(one.items, schemas, depth + 1));
    case "null": return null;
    default: return Object.fromEntries((one.required ?? []).map((name) => [name, example(one.properties?.[name], schemas, depth + 1)]));
  }
}

// Returns the same value in Python syntax.
function literal(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  return `{${Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${literal(one)}`).join(", ")}}`;
}

function written(base, type, payload) {
  const json = JSON.stringify(payload), shell = JSON.stringify({ taskType: type, payload }).replaceAll("'", "'\\''");
  return [
    ["Status, with curl", `curl ${base}/v1/async/status \\
  -H "Authorization: Bearer $FAIRLANE_API_KEY"`],
    ["Submit, with curl", `curl -X POST ${base}/v1/async/task \\
  -H "Authorization: Bearer $FAIRLANE_API_KEY" -H "Content-Type: application/json" \\
  -d '${shell}'`],
    ["Python", `from fairlane.client import Client

with Client("${base}") as client:  # The key is read from FAIRLANE_API_KEY.
    print(client.status())
    print(client.run("${type}", ${literal(payload)}))`],
    ["Node", `const base = "${base}";
const headers = { Authorization: \`Bearer \${process.env.FAIRLANE_API_KEY}\`, "Content-Type": "application/json" };

async function ask(path, options = {}) {
  const response = await fetch(base + path, { headers, ...options });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error.message);
  return answer;
}

async function run() {
  console.log(await ask("/v1/async/status"));
  const { task } = await ask("/v1/async/task", { method: "POST", body: JSON.stringify({ taskType: "${type}", payload: ${json} }) });
  let found;
  do {
    found = await ask(\`/v1/async/task/\${task.id}\`, { headers: { ...headers, Prefer: "wait=20" } });
  } while (!["COMPLETED", "FAILED"].includes(found.task.status));
  console.log(found.task.status, found.response);
}

run();`],
  ];
}
