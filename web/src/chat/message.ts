import type { PackedTokens } from "./probabilities.ts";

export type Role = "user" | "assistant" | "tool";

/** A call of a tool. */
export interface Call {
  id: string;
  name: string;
  /** JSON, as the model wrote it. */
  arguments: string;
}

/** How fast an answer came, and what it took. */
export interface Figures {
  promptTokens: number;
  cachedTokens: number;
  completionTokens: number;
  firstTokenS?: number;
  tokensPerS?: number;
}

/** Why an answer ended: the model's reasons, or what happened to it. */
export type Finish = "stop" | "length" | "tool_calls" | "stopped" | "failed";

export interface Verdict {
  isSafe: boolean;
  categories: readonly string[];
}

/** A message of a conversation, which is a tree: each names the one before it. */
export interface Message {
  id: string;
  /** The message before; `ROOT` for those that begin a conversation. */
  parent: string;
  role: Role;
  text: string;
  /** When it was written, in milliseconds since 1970. */
  at: number;
  /** Who answered. */
  model?: string;
  /** Data URLs. */
  pictures?: readonly string[];
  calls?: readonly Call[];
  /** Which call a tool's result answers. */
  callId?: string;
  /** Absent while an answer is being written. */
  finish?: Finish;
  /** What went wrong, in plain words. */
  problem?: string;
  /** How many earlier messages no longer fitted in the context. */
  leftOut?: number;
  figures?: Figures;
  tokens?: PackedTokens;
  verdict?: Verdict;
}

export const ROOT = "";

let lastTime = 0;
let count = 0;

/** A new id. Ids sort in the order in which they were made. */
export function newId(): string {
  const now = Date.now();
  count = now > lastTime ? 0 : count + 1;
  lastTime = Math.max(now, lastTime);
  const random = crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
  const part = (value: number, length: number) => value.toString(36).padStart(length, "0").slice(-length);
  return part(lastTime, 9) + part(count, 4) + part(random, 6);
}
