// Submits, waits, calls and reads the status with nothing but fetch and the types that were generated.
import type { components, paths } from "./schema";

type Answer<Path extends keyof paths, Method extends "get" | "post"> = paths[Path][Method] extends {
  responses: { 200: { content: { "application/json": infer Body } } };
}
  ? Body
  : never;

const address = process.argv[2];
const key = process.env.FAIRLANE_API_KEY;

async function ask<Path extends keyof paths, Method extends "get" | "post">(
  method: Method,
  path: Path,
  { body, task = "", headers = {} }: { body?: unknown; task?: string; headers?: Record<string, string> } = {},
): Promise<Answer<Path, Method>> {
  const answer = await fetch(address + path.replace("{taskId}", task), {
    method: method.toUpperCase(),
    headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json", ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as Answer<Path, Method>;
}

const submission: components["schemas"]["Submission"] = {
  taskType: "COUNT_WORDS",
  payload: { text: "to be or not to be" },
  idempotencyKey: "from-typescript",
};
const accepted = await ask("post", "/v1/async/task", { body: submission });
const found = await ask("get", "/v1/async/task/{taskId}", {
  task: accepted.task.id,
  headers: { Prefer: "wait=20" },
});
const called = await ask("post", "/v1/monitor/count/words", { body: { text: "told at once" } });
const success: true = called.success;
const status = await ask("get", "/v1/async/status");
const response = found.response as Record<string, unknown>;
console.log(
  JSON.stringify({
    status: found.task.status,
    words: response["words"],
    success,
    called: (called.result as Record<string, unknown>)["words"],
    max: status.concurrency?.max,
    queued: status.queuedTasks,
  }),
);
