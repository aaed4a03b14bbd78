#!/usr/bin/env bash
# Vite 8.4.0: `build.license` lists no package that only a web worker uses, though its code is in what is built.
#
# `build: { license: true }` writes the licences of all bundled packages to `.vite/license.md`, which is what one passes on
# with a page. A worker (`new Worker(new URL("./worker.js", import.meta.url), { type: "module" })`) is bundled by a build of its
# own, and what it brings in is missing from the list, without a word: whoever ships the list as it is ships code without
# its licence. Syntax highlighting, which lives in workers, is a common case.
# Seen: preact (used by the page) listed; highlight.js (used by the worker) not, with its code in the worker's file.
#
# Fails if that changes. Needs Node.js 20.19 or later and npm; works in a temporary folder.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >package.json <<'END'
{"private": true, "type": "module", "license": "MIT"}
END
npm install --silent --no-audit --no-fund vite@8.4.0 preact@11.2.0 highlight.js@11.11.1
echo '<script type="module" src="/main.js"></script>' >index.html
cat >main.js <<'END'
import { h } from "preact";
const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
worker.onmessage = (event) => console.log(h("p", null, event.data));
END
cat >worker.js <<'END'
import hljs from "highlight.js/lib/core";
import json from "highlight.js/lib/languages/json";
hljs.registerLanguage("json", json);
self.onmessage = (event) => self.postMessage(hljs.highlight(event.data, { language: "json" }).value);
END
cat >vite.config.js <<'END'
export default { build: { license: true }, worker: { format: "es" } };
END
npx vite build --logLevel error
listed() { if grep -q "^## $1 " dist/.vite/license.md; then echo listed; else echo missing; fi; }
built=$(grep -l "hljs" dist/assets/worker-*.js | wc -l)
echo "preact: $(listed preact); highlight.js: $(listed highlight.js), in $built file of the worker"
test "$(listed preact) $(listed highlight.js) $built" = "listed missing 1"
