// Alerts: when this organization's webhooks are notified, and which alerts fire now.

import { ask, get, repeat } from "./api.js";
import { badge, button, fill, h, notice, submits, table } from "./dom.js";
import { count, moment, share, span } from "./format.js";

const KINDS = {
  QUEUED_ABOVE: { name: "Queued tasks", unit: "tasks", show: count, usual: 1000 },
  UTILIZATION_ABOVE: { name: "Slots in use", unit: "of the slots in percent", show: share, usual: 80, per: 100 },
  OLDEST_WAITING_ABOVE: { name: "Wait of the oldest task", unit: "seconds", show: span, usual: 600 },
  FAILURES_ABOVE: { name: "Failures in five minutes", unit: "tasks", show: count, usual: 10 },
};

export function alerts(content) {
  const list = h("section");
  const look = async () => {
    const kept = await get("/v1/alerts");
    fill(list, table("Webhooks are notified once when an alert fires and once when it recovers", [
      { name: "When", show: ({ kind }) => KINDS[kind]?.name ?? kind },
      { name: "Above", number: true, show: ({ kind, threshold }) => (KINDS[kind]?.show ?? count)(threshold) },
      { name: "For", number: true, show: (one) => span(one.forSeconds) },
      { name: "State", first: true, show: (one) => badge(one.firing ? "firing" : "quiet") },
      { name: "Changed", named: true, show: (one) => (one.changedAt ? moment(one.changedAt) : "") },
      { name: "Webhook", long: true, show: (one) => one.webhook.url },
      { name: "", show: (one) => button("Delete", async () => {
        if (!confirm(`Delete the alert "${KINDS[one.kind]?.name ?? one.kind}"? Its webhook is no longer notified.`)) return;
        await ask("DELETE", `/v1/alerts/${one.id}`);
        notice("The alert is deleted.");
        await look();
      }, "danger") },
    ], kept.alerts, "None yet.", true));
  };
  fill(content, h("h1", {}, "Alerts"), made(look), list, h("p", { class: "quiet" }, "Messages are signed and retried like those of tasks: ",
    h("a", { href: "#/webhooks" }, "webhooks"), "."));
  return repeat(3, look);
}

// Returns the form for a new alert.
function made(look) {
  const kind = h("select", { id: "kind" }, Object.entries(KINDS).map(([value, one]) => h("option", { value }, one.name)));
  const threshold = h("input", { id: "threshold", type: "number", min: 0, step: "any", required: true });
  const unit = h("span", { class: "quiet", id: "unit" });
  const minutes = h("input", { id: "minutes", "aria-label": "for minutes", type: "number", min: 0, step: "any", value: 5, required: true });
  const url = h("input", { id: "url", type: "url", required: true, placeholder: "https://…", size: 36 });
  const choose = () => { threshold.value = KINDS[kind.value].usual; unit.textContent = KINDS[kind.value].unit; };
  kind.addEventListener("change", choose);
  choose();
  const field = (input, text, ...more) => h("span", { class: "row" }, h("label", { for: input.id, class: "quiet" }, text), input, ...more);
  const form = h("form", { class: "row" }, field(kind, "When"), field(threshold, "is above", unit), field(minutes, "for", h("span", { class: "quiet" }, "minutes")),
    field(url, "notify"), h("button", {}, "Create"));
  submits(form, async () => {
    await ask("POST", "/v1/alerts", { kind: kind.value, threshold: Number(threshold.value) / (KINDS[kind.value].per ?? 1),
      forSeconds: Math.round(Number(minutes.value) * 60), webhook: { url: url.value } });
    notice("The alert is set.");
    await look();
  }, { kind, threshold, forSeconds: minutes, "webhook.url": url });
  return h("section", {}, h("h2", {}, "New alert"), form);
}
