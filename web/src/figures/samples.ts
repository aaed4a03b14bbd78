import type { ServerState } from "../api/server_state.ts";

/** The server's figures at one moment; a gap where nothing can be said. */
export interface Sample {
  at: number;
  /** Tokens a second. */
  written: number;
  read: number;
  firstTokenS: number | undefined;
  running: number;
  waiting: number;
  /** The share of prompt tokens that were found in the cache. */
  cached: number | undefined;
  memoryBytes: number | undefined;
}

interface Totals {
  at: number;
  completion: number;
  prompt: number;
  cached: number;
  answers: number;
  firstTokenSum: number;
}

/** How many moments are kept. */
const KEPT = 300;

/** Makes figures over time of counters that only grow. */
export class Samples {
  readonly #samples: Sample[] = [];
  #before: Totals | undefined;

  get all(): readonly Sample[] {
    return this.#samples;
  }

  add(state: ServerState, at: number): void {
    const now = totalsOf(state, at);
    const before = this.#before;
    this.#before = now;
    // After a restart counters begin again; after a pause there is nothing to compare with.
    if (
      before === undefined ||
      now.completion < before.completion ||
      now.prompt < before.prompt ||
      at - before.at > 10_000
    )
      return;
    const seconds = (at - before.at) / 1000;
    if (seconds <= 0) return;
    const counts = state.models.map((model) => model.counts);
    const sum = (key: "running" | "waiting") => counts.reduce((total, count) => total + (count?.[key] ?? 0), 0);
    const prompt = now.prompt - before.prompt;
    const answers = now.answers - before.answers;
    this.#samples.push({
      at,
      written: (now.completion - before.completion) / seconds,
      read: (prompt - (now.cached - before.cached)) / seconds,
      firstTokenS: answers > 0 ? Math.max(0, (now.firstTokenSum - before.firstTokenSum) / answers) : undefined,
      running: sum("running"),
      waiting: sum("waiting"),
      cached: prompt > 0 ? Math.min(1, (now.cached - before.cached) / prompt) : undefined,
      memoryBytes: state.processBytes,
    });
    if (this.#samples.length > KEPT) this.#samples.shift();
  }
}

function totalsOf(state: ServerState, at: number): Totals {
  const totals: Totals = { at, completion: 0, prompt: 0, cached: 0, answers: 0, firstTokenSum: 0 };
  for (const { counts } of state.models) {
    if (counts === undefined) continue;
    totals.completion += counts.completionTokens;
    totals.prompt += counts.promptTokens;
    totals.cached += counts.cachedTokens;
    totals.answers += counts.answers;
    totals.firstTokenSum += counts.firstTokenS * counts.answers;
  }
  return totals;
}

/** The last value of a figure that there is. */
export function latest(samples: readonly Sample[], value: (sample: Sample) => number | undefined): number | undefined {
  for (let i = samples.length - 1; i >= 0; i--) {
    const sample = samples[i];
    const found = sample === undefined ? undefined : value(sample);
    if (found !== undefined) return found;
  }
  return undefined;
}
