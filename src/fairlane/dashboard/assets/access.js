// Keys of the organization, and the secrets that sign its webhooks. A new one is shown once.

import { ask, get } from "./api.js";
import { button, copies, fill, h, nameOf, notice, submits, table } from "./dom.js";
import { moment } from "./format.js";

const ROTATION = "Create a new secret? It signs every webhook from now on. The current secret also signs for 24 hours, so add the new one to your receivers in that time. An older secret stops signing at once.";

// Shows a new secret in a place of its own, until a reader has stored it.
export function shownOnce(place, what, value, advice = "Store it where only your programs can read it.") {
  const told = h("pre", { tabindex: 0 }, value);
  fill(place, h("section", {}, h("h2", {}, `The new ${what}`), h("p", {}, `It is shown only once. ${advice}`), told,
    copies(told), button("Done", async () => fill(place))));
}

export function access(content) {
  const keys = h("section"), secrets = h("section"), shown = h("div", { role: "status" });
  const once = (what, value) => shownOnce(shown, what, value);
  const look = async () => {
    const [held, signing] = await Promise.all([get("/access/keys"), get("/access/webhook-secrets")]);
    const name = h("input", { id: "name", maxlength: 64, placeholder: "what it is for" });
    fill(keys, h("h2", {}, "Keys"), table("Every key gives full access to this organization", [
      { name: "Name", long: true, first: true, show: nameOf }, { name: "Ends in", named: true, show: (one) => h("code", {}, one.last4) },
      { name: "Created", named: true, show: (one) => moment(one.created_at) }, { name: "Revoked", named: true, show: (one) => (one.revoked_at ? moment(one.revoked_at) : "") },
      { name: "", show: (one) => (one.revoked_at ? "" : button("Revoke", async () => {
        if (!confirm(`Revoke the key that ends in ${one.last4}? Programs that use it are refused at once.`)) return;
        await ask("DELETE", `/access/keys/${one.id}`);
        notice("The key is revoked.");
        await look();
      }, "danger")) },
    ], held.keys, "None.", true), submits(h("form", { class: "row" }, h("label", { for: "name", class: "quiet" }, "New key"), name, h("button", {}, "Create")), async () => {
      once("key", (await ask("POST", "/access/keys", name.value.trim() ? { name: name.value.trim() } : {})).value);
      await look();
    }));
    fill(secrets, h("h2", {}, "Webhook secrets"), table("The newest secret signs; the previous one also signs for a while", [
      { name: "Ends in", named: true, show: (one) => h("code", {}, one.last4) }, { name: "Created", named: true, show: (one) => moment(one.created_at) },
      { name: "Signs until", named: true, show: (one) => (one.expires_at ? moment(one.expires_at) : "further notice") },
    ], signing.webhook_secrets, "None: webhooks are not signed.", true), h("div", { class: "row" }, button("New secret", async () => {
      if (signing.webhook_secrets.length && !confirm(ROTATION)) return;
      once("webhook secret", (await ask("POST", "/access/webhook-secrets", {})).value);
      await look();
    })));
  };
  fill(content, h("h1", {}, "Keys and secrets"), shown, keys, secrets);
  look().catch((error) => notice(error.message, "bad"));
}
