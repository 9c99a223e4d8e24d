import createClient from "openapi-fetch";
import type { components, paths } from "./schema";

const address = process.argv[2];
const key = process.env.FAIRLANE_API_KEY;

const client = createClient<paths>({
  baseUrl: address,
  headers: { Authorization: `Bearer ${key}` },
});

type CountWords = components["schemas"]["Payload.COUNT_WORDS"];
const payload: CountWords = { text: "to be or not to be" };

const submitted = await client.POST("/v1/async/task", {
  body: { taskType: "COUNT_WORDS", payload, idempotencyKey: "hamlet-3-1" },
});
if (submitted.error) throw new Error(submitted.error.error.message);

const found = await client.GET("/v1/async/task/{taskId}", {
  params: { path: { taskId: submitted.data.task.id }, header: { Prefer: "wait=20" } },
});
if (found.error) throw new Error(found.error.error.message);
console.log(found.data.task.status, JSON.stringify(found.data.response));

const status = await client.GET("/v1/async/status");
console.log(status.data?.queuedTasks, "queued,", status.data?.concurrency?.used, "slots used");
