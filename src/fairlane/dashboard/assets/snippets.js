// Programs to paste: the same four lines in curl, Python and Node.

import { button, fill, h, notice } from "./dom.js";

export function snippets(content) {
  const base = location.origin;
  const programs = [
    ["curl", `curl ${base}/v1/async/status \\\n  -H "Authorization: Bearer $FAIRLANE_API_KEY"`],
    ["Python", `from fairlane.client import Client\n\nwith Client("${base}") as client:  # the key: FAIRLANE_API_KEY\n    print(client.status())`],
    ["Node", `const response = await fetch("${base}/v1/async/status", {\n  headers: { Authorization: \`Bearer \${process.env.FAIRLANE_API_KEY}\` },\n});\nconsole.log(await response.json());`],
    ["Submit, with curl", `curl -X POST ${base}/v1/async/task \\\n  -H "Authorization: Bearer $FAIRLANE_API_KEY" -H "Content-Type: application/json" \\\n  -d '{"taskType": "YOUR_TYPE", "payload": {}, "idempotencyKey": "first-1"}'`],
  ];
  fill(content, h("h1", {}, "Code"), h("p", {}, "What there is to ask: ", h("a", { href: "/openapi.json" }, "openapi.json")), programs.map(([name, text]) =>
    h("section", {}, h("h2", {}, name), h("pre", { tabindex: 0 }, text), button("Copy", async () => { await navigator.clipboard.writeText(text); notice("Copied."); }))));
}
