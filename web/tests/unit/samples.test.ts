import { expect, test } from "vitest";
import { readModels, readState } from "../../src/api/server_state.ts";
import { Samples } from "../../src/figures/samples.ts";

const state = (counts: object) =>
  readState({ memory: { process_bytes: 5 }, models: [{ name: "m", state: "awake", ...counts }] });

test("rates are differences", () => {
  const samples = new Samples();
  samples.add(
    state({ completion_tokens: 100, prompt_tokens: 100, cached_tokens: 0, answers: 1, time_to_first_token_s: 1 }),
    1000,
  );
  expect(samples.all).toEqual([]);
  samples.add(
    state({
      completion_tokens: 150,
      prompt_tokens: 300,
      cached_tokens: 50,
      answers: 2,
      time_to_first_token_s: 2,
      running: 3,
    }),
    3000,
  );
  expect(samples.all[0]).toEqual({
    at: 3000,
    written: 25,
    read: 75,
    firstTokenS: 3,
    running: 3,
    waiting: 0,
    cached: 0.25,
    memoryBytes: 5,
  });
});

test("a server that was started anew begins anew", () => {
  const samples = new Samples();
  samples.add(state({ completion_tokens: 100 }), 1000);
  samples.add(state({ completion_tokens: 5 }), 2000);
  samples.add(state({ completion_tokens: 15 }), 3000);
  expect(samples.all.map((sample) => sample.written)).toEqual([10]);
});

test("what is not told is absent, and what is not known breaks nothing", () => {
  expect(readState({})).toEqual({ models: [], hasFigures: true });
  expect(
    readState({ models: [null, 5, {}, { name: "x", state: "dancing", context: "many", more: 1 }] }).models.map(
      (model) => [model.name, model.state, model.context],
    ),
  ).toEqual([["x", "unknown", undefined]]);
  expect(readModels({ data: [{ id: "m", max_model_len: 512 }, {}] }).models).toEqual([
    { name: "m", state: "unknown", context: 512 },
  ]);
});
