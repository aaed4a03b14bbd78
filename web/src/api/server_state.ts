import { field, finite, flag, isObject, list, text } from "./json.ts";

export type ModelState = "awake" | "asleep" | "unloaded" | "loading" | "unknown";

/** A model as the server tells of it. What an older server does not say is absent. */
export interface Model {
  name: string;
  state: ModelState;
  /** The size of its file. */
  bytes?: number;
  context?: number;
  canChat?: boolean;
  canSee?: boolean;
  canInfill?: boolean;
  isGuard?: boolean;
  counts?: Counts;
}

/** Figures that only grow, and those of this moment. */
export interface Counts {
  running: number;
  waiting: number;
  cacheUsed: number;
  promptTokens: number;
  cachedTokens: number;
  completionTokens: number;
  answers: number;
  /** Means over all answers so far, in seconds. */
  firstTokenS: number;
  betweenTokensS: number;
}

export interface ServerState {
  version?: string;
  uptimeS?: number;
  processBytes?: number;
  budgetBytes?: number;
  models: readonly Model[];
  /** Whether the server tells figures at all. */
  hasFigures: boolean;
}

const STATES: readonly string[] = ["awake", "asleep", "unloaded", "loading"];

/** Reads `GET /state`. */
export function readState(told: unknown): ServerState {
  const state: ServerState = { models: list(field(told, "models")).flatMap(readModel), hasFigures: true };
  put(state, "version", text(field(told, "version")));
  put(state, "uptimeS", finite(field(told, "uptime_s")));
  put(state, "processBytes", finite(field(told, "memory", "process_bytes")));
  put(state, "budgetBytes", finite(field(told, "memory", "budget_bytes")));
  return state;
}

/** Reads `GET /v1/models`, which says less. */
export function readModels(told: unknown): ServerState {
  const models = list(field(told, "data")).flatMap((entry): Model[] => {
    const name = text(field(entry, "id"));
    if (name === undefined) return [];
    const model: Model = { name, state: "unknown" };
    put(model, "context", finite(field(entry, "max_model_len")));
    return [model];
  });
  return { models, hasFigures: false };
}

function readModel(told: unknown): Model[] {
  const name = text(field(told, "name"));
  if (!isObject(told) || name === undefined) return [];
  const said = text(told["state"]) ?? "";
  const model: Model = { name, state: STATES.includes(said) ? (said as ModelState) : "unknown" };
  put(model, "bytes", finite(told["bytes"]));
  put(model, "context", finite(told["context"]));
  put(model, "canChat", flag(told["can_chat"]));
  put(model, "canSee", flag(told["can_see"]));
  put(model, "canInfill", flag(told["can_infill"]));
  put(model, "isGuard", flag(told["is_guard"]));
  const count = (key: string) => finite(told[key]) ?? 0;
  model.counts = {
    running: count("running"),
    waiting: count("waiting"),
    cacheUsed: count("cache_used"),
    promptTokens: count("prompt_tokens"),
    cachedTokens: count("cached_tokens"),
    completionTokens: count("completion_tokens"),
    answers: count("answers"),
    firstTokenS: count("time_to_first_token_s"),
    betweenTokensS: count("time_between_tokens_s"),
  };
  return [model];
}

function put<T extends object, K extends keyof T>(target: T, key: K, value: T[K] | undefined): void {
  if (value !== undefined) target[key] = value;
}
