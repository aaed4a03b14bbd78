import { signal } from "@preact/signals";
import { h } from "preact";
import { renderToString } from "preact-render-to-string";
import { expect, test } from "vitest";
import { server } from "../../src/api/server.ts";
import type { ModelState } from "../../src/api/server_state.ts";
import type { Run, RunStatus } from "../../src/chat/answering.ts";
import { RunStatusView } from "../../src/chat/run_status.tsx";

/** What is shown while an answer of a model in this state is waited for. */
function shown(state: ModelState): string {
  server.value = { hasFigures: true, models: [{ name: "llama", state, bytes: 4_900_000_000 }] };
  const run = { id: "a", status: signal<RunStatus>({ kind: "waiting" }), stop: () => undefined } as unknown as Run;
  return renderToString(h(RunStatusView, { run, model: "llama" }));
}

test("whoever waits for a model that is being loaded sees that, and how large it is", () => {
  for (const state of ["loading", "unloaded"] as const) {
    expect(shown(state)).toContain("Loading llama, 4.9 GB…");
    expect(shown(state)).toContain("<progress");
  }
  expect(shown("awake")).toContain("Reading…");
  expect(shown("awake")).not.toContain("<progress");
});
