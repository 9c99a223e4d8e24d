// Webhook deliveries: the list with their tries, sending one again, and a test event.

import { ask, get, repeat } from "./api.js";
import { badge, button, fill, h, notice, submits, table } from "./dom.js";
import { moment } from "./format.js";

export function deliveries(content) {
  const list = h("section"), url = h("input", { id: "url", type: "url", required: true, placeholder: "https://…", size: 40 });
  let cursor = null, trail = [];
  const look = async () => {
    const page = await get("/v1/webhooks/deliveries?limit=25" + (cursor ? `&cursor=${cursor}` : ""));
    fill(list, table("Newest first", [
      { name: "Of", show: (one) => (one.taskId ? h("a", { href: `#/task/${one.taskId}` }, one.taskId.slice(0, 13)) : one.alertId ? "an alert" : "a test") },
      { name: "To", long: true, show: (one) => one.url }, { name: "Status", show: (one) => badge(one.status) },
      { name: "Tries", show: (one) => h("ol", {}, one.tries.map((tried) => h("li", { value: tried.number }, `${moment(tried.at)}: ${tried.outcome}${tried.status ? ` (${tried.status})` : ""}`))) },
      { name: "Next try", show: (one) => moment(one.nextTryAt) },
      { name: "", show: (one) => (one.status === "trying" ? "" : button("Send again", async () => {
        if (one.delivered && !confirm(`Send this message to ${one.url} once more? It was already delivered: the receiver gets it twice.`)) return;
        await ask("POST", `/v1/webhooks/deliveries/${one.id}/redeliver`);
        notice("It is being sent again.");
        await look();
      })) },
    ], page.deliveries, "No deliveries yet."), h("div", { class: "row" },
      trail.length ? button("Newer", () => { cursor = trail.pop(); return look(); }) : null,
      page.nextCursor ? button("Older", () => { trail.push(cursor); cursor = page.nextCursor; return look(); }) : null));
  };
  const test = h("form", { class: "row" }, h("label", { for: "url", class: "quiet" }, "Send a test event to"), url, h("button", {}, "Send"));
  submits(test, async () => {
    await ask("POST", "/v1/webhooks/test", { url: url.value });
    notice("The test event is on its way.");
    await look();
  });
  fill(content, h("h1", {}, "Webhooks"), test, list);
  return repeat(3, async () => { if (!trail.length) await look(); });
}
