import { ServerError, Unreachable } from "./errors.ts";

/** How one attempt to get an answer, or the rest of it, ended. */
export type Outcome =
  | { kind: "ended"; finish: string }
  /** The stream ended, and nobody said why. */
  | { kind: "cut" }
  | { kind: "failed"; error: unknown };

/** What to do next. */
export type Step =
  | { kind: "done"; finish: string }
  /** Ask for the rest as soon as the server answers again. */
  | { kind: "reconnect"; afterS: number }
  /** The server has too much to do: ask the same again. */
  | { kind: "wait"; afterS: number }
  /** A key is needed first. */
  | { kind: "key" }
  /** The conversation does not fit: ask with less of it. */
  | { kind: "shorten" }
  | { kind: "fail"; error: unknown };

const MAX_CUTS = 8;
/** How often a server is asked again that has no room and does not say when it will. */
const MAX_UNSURE = 3;

/** `tries` counts the attempts in a row that brought nothing new. */
export function nextStep(outcome: Outcome, tries: number): Step {
  if (outcome.kind === "ended") return { kind: "done", finish: outcome.finish };
  if (outcome.kind === "cut")
    return tries < MAX_CUTS ? { kind: "reconnect", afterS: pause(tries) } : fail(new Unreachable());
  const { error } = outcome;
  if (error instanceof Unreachable) return { kind: "reconnect", afterS: pause(tries) };
  if (!(error instanceof ServerError)) return fail(error);
  if (error.status === 401) return { kind: "key" };
  if (error.status === 503 && error.retryAfterS === undefined && tries >= MAX_UNSURE) return fail(error);
  if (error.status === 429 || error.status === 503) {
    return { kind: "wait", afterS: Math.min(60, Math.max(error.retryAfterS ?? 0, pause(tries))) };
  }
  if (error.code === "context_length_exceeded") return { kind: "shorten" };
  return fail(error);
}

function fail(error: unknown): Step {
  return { kind: "fail", error };
}

/** Seconds before the next attempt: twice as long each time, up to ten. */
export function pause(tries: number): number {
  return Math.min(10, 0.5 * 2 ** Math.min(tries, 10));
}

/** Resolves after some seconds, or as soon as the signal is aborted. */
export function sleep(seconds: number, until: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (until.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      until.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, seconds * 1000);
    until.addEventListener("abort", end);
  });
}
