import { parseJson } from "../api/json.ts";
import { fieldsOf, type Preset, schemaProblem } from "../settings/preset.ts";
import type { Message } from "./message.ts";
import { ALTERNATIVES } from "./probabilities.ts";

export interface Wish {
  model: string;
  preset: Preset;
  /** How many of the first messages are left out. */
  leftOut: number;
  /** Whether tokens come with probabilities. */
  probabilities: boolean;
  /** How many tokens the answer has already. */
  taken: number;
}

/** The body of a request that answers a conversation, or continues its last message where that is an answer. */
export function requestOf(line: readonly Message[], wish: Wish): object {
  const last = line.at(-1);
  const continues = last?.role === "assistant" && last.text !== "";
  // An answer that has not begun is what is asked for.
  const said = last?.role === "assistant" && !continues ? line.slice(0, -1) : line;
  const messages = said.slice(wish.leftOut).map(toldOf);
  if (wish.preset.system !== "") messages.unshift({ role: "system", content: wish.preset.system });
  const fields = fieldsOf(wish.preset);
  const most = wish.preset.sampling.maxTokens;
  if (most !== undefined) fields["max_tokens"] = Math.max(1, most - wish.taken);
  if (wish.preset.tools.length > 0)
    fields["tools"] = wish.preset.tools.map((tool) => ({ type: "function", function: tool }));
  if (hasFormat(wish.preset)) {
    fields["response_format"] = {
      type: "json_schema",
      json_schema: { name: "answer", schema: parseJson(wish.preset.schema) },
    };
  }
  if (wish.probabilities) Object.assign(fields, { logprobs: true, top_logprobs: ALTERNATIVES });
  if (continues) Object.assign(fields, { continue_final_message: true, add_generation_prompt: false });
  return { model: wish.model, messages, stream: true, stream_options: { include_usage: true }, ...fields };
}

export function hasFormat(preset: Preset): boolean {
  return preset.schema.trim() !== "" && schemaProblem(preset.schema) === "";
}

function toldOf(message: Message): object {
  if (message.role === "tool") return { role: "tool", tool_call_id: message.callId ?? "", content: message.text };
  if (message.role === "assistant") {
    const calls = message.calls ?? [];
    if (calls.length === 0) return { role: "assistant", content: message.text };
    const told = calls.map((call) => ({
      id: call.id,
      type: "function",
      function: { name: call.name, arguments: call.arguments },
    }));
    return { role: "assistant", content: message.text === "" ? null : message.text, tool_calls: told };
  }
  const pictures = message.pictures ?? [];
  if (pictures.length === 0) return { role: "user", content: message.text };
  const parts = pictures.map((url): object => ({ type: "image_url", image_url: { url } }));
  return { role: "user", content: message.text === "" ? parts : [...parts, { type: "text", text: message.text }] };
}

/** The share of the context that a shortened conversation may take, so that there is room for an answer. */
const SHARE = 0.75;
/** What a message takes beside its text. */
const LETTERS_AROUND = 20;
const TOKENS_AROUND = 5;

/**
 * How many messages to leave out so that a conversation fits which the server found too long; `undefined` where nothing
 * more can go. What is left begins with a message of the user.
 */
export function shortened(
  line: readonly Message[],
  leftOut: number,
  needed: number,
  limit: number,
): number | undefined {
  const starts = line.flatMap((message, i) => (i > leftOut && message.role === "user" ? [i] : []));
  const lengths = line.map((message) => message.text.length + LETTERS_AROUND);
  for (let i = lengths.length - 2; i >= 0; i--) lengths[i] = (lengths[i] ?? 0) + (lengths[i + 1] ?? 0);
  const whole = lengths[leftOut] ?? 1;
  return starts.find((start) => (needed * (lengths[start] ?? 0)) / whole <= SHARE * limit) ?? starts.at(-1);
}

/** Letters that a token has usually, and at most over a whole conversation. */
const USUAL_LETTERS = 4;
const MOST_LETTERS = 8;
/** What is left of a context for an answer that shall not break off after a few words. */
const ROOM = 1024;
const ROOM_SHARE = 0.25;

/** How many tokens a conversation takes, and whether the server counted most of them. */
export interface Size {
  used: number;
  isCounted: boolean;
}

/** Tokens up to the last message: what the server counted, and a guess for what was said since. */
export function sizeOf(back: Iterable<Message>, systemLetters: number, draftLetters = 0): Size {
  let letters = draftLetters;
  let tokens = 0;
  for (const { figures, text } of back) {
    if (figures !== undefined && figures.promptTokens > 0) {
      tokens += figures.promptTokens + figures.completionTokens;
      return { used: tokens + Math.ceil(letters / USUAL_LETTERS), isCounted: true };
    }
    letters += text.length;
    tokens += TOKENS_AROUND;
  }
  return { used: tokens + Math.ceil((letters + systemLetters) / USUAL_LETTERS), isCounted: false };
}

/** How many messages to leave out so that there is room for an answer; `undefined` where there is, or may be. */
export function roomMade(
  line: readonly Message[],
  leftOut: number,
  systemLetters: number,
  context: number | undefined,
): number | undefined {
  if (context === undefined) return undefined;
  const { used, isCounted } = sizeOf(line.slice(leftOut).reverse(), systemLetters);
  const isTight = isCounted
    ? used > context - Math.min(ROOM, context * ROOM_SHARE)
    : (used * USUAL_LETTERS) / MOST_LETTERS > context;
  return isTight ? shortened(line, leftOut, used, context) : undefined;
}

/** How many tokens a prompt had and may have, in the words of the error that refused it. */
export function sizesIn(problem: string): { needed: number; limit: number } | undefined {
  const numbers = [...problem.matchAll(/(\d+) tokens/g)].map((match) => Number(match[1]));
  const [needed, limit] = numbers;
  return needed !== undefined && limit !== undefined && limit > 0 && needed > limit ? { needed, limit } : undefined;
}
