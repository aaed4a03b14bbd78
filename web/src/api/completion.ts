import { ask } from "./client.ts";
import { errorOfBody, type ServerError, Unreachable } from "./errors.ts";
import { field, finite, isObject, list, parseJson, text } from "./json.ts";
import { readEvents } from "./sse.ts";

export interface Usage {
  promptTokens: number;
  completionTokens: number;
  cachedTokens: number;
  /** The server's own measure of how fast it wrote; absent where it does not say. */
  tokensPerS?: number;
}

export interface TokenChoice {
  /** The token's bytes as text, or `undefined` where they are no whole characters. */
  text: string | undefined;
  bytes: readonly number[];
  logprob: number;
}

export interface Token extends TokenChoice {
  top: readonly TokenChoice[];
}

export interface CallPiece {
  index: number;
  id?: string;
  name?: string;
  arguments?: string;
}

/** What happens while an answer comes. */
export interface Heard {
  text?(piece: string): void;
  tokens?(tokens: readonly Token[]): void;
  call?(piece: CallPiece): void;
}

export interface Ended {
  /** Why the answer ended; absent where the stream was cut. */
  finish: string | undefined;
  usage: Usage | undefined;
}

/** Streams an answer of `/v1/chat/completions`, `/v1/completions` or `/infill`. */
export async function stream(path: string, body: object, signal: AbortSignal, heard: Heard): Promise<Ended> {
  const response = await ask(path, { body, signal });
  const ended: Ended = { finish: undefined, usage: undefined };
  let failure: ServerError | undefined;
  if (response.body === null) return ended;
  try {
    await readEvents(response.body, (data) => {
      if (data === "[DONE]") return false;
      const chunk = parseJson(data);
      if (!isObject(chunk)) return true;
      if (chunk["error"] !== undefined && chunk["error"] !== null) {
        failure = errorOfBody(500, data);
        return false;
      }
      read(chunk, ended, heard);
      return true;
    });
  } catch (error) {
    if (signal.aborted) throw error;
    // The connection broke: an answer whose end was heard is whole all the same.
    if (ended.finish === undefined) throw new Unreachable();
  }
  if (failure !== undefined) throw failure;
  return ended;
}

function read(chunk: Record<string, unknown>, ended: Ended, heard: Heard): void {
  const usage = chunk["usage"];
  if (isObject(usage)) ended.usage = usageOf(usage, chunk["timings"]);
  const choice = field(chunk, "choices", 0);
  if (!isObject(choice)) return;
  const piece = text(field(choice, "delta", "content")) ?? text(choice["text"]);
  const tokens = list(field(choice, "logprobs", "content"));
  if (tokens.length > 0) heard.tokens?.(tokens.map(tokenOf));
  if (piece !== undefined && piece !== "") heard.text?.(piece);
  for (const call of list(field(choice, "delta", "tool_calls"))) heard.call?.(callOf(call));
  ended.finish = text(choice["finish_reason"]) ?? ended.finish;
}

function usageOf(usage: Record<string, unknown>, timings: unknown): Usage {
  const told: Usage = {
    promptTokens: finite(usage["prompt_tokens"]) ?? 0,
    completionTokens: finite(usage["completion_tokens"]) ?? 0,
    cachedTokens: finite(field(usage, "prompt_tokens_details", "cached_tokens")) ?? 0,
  };
  const perS = finite(field(timings, "predicted_per_second"));
  if (perS !== undefined && perS > 0) told.tokensPerS = perS;
  return told;
}

function callOf(call: unknown): CallPiece {
  const piece: CallPiece = { index: finite(field(call, "index")) ?? 0 };
  const id = text(field(call, "id"));
  const name = text(field(call, "function", "name"));
  const said = text(field(call, "function", "arguments"));
  if (id !== undefined) piece.id = id;
  if (name !== undefined) piece.name = name;
  if (said !== undefined) piece.arguments = said;
  return piece;
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function choiceOf(told: unknown): TokenChoice {
  const bytes = list(field(told, "bytes")).filter((byte): byte is number => typeof byte === "number");
  let whole: string | undefined;
  try {
    whole = bytes.length > 0 ? strict.decode(Uint8Array.from(bytes)) : (text(field(told, "token")) ?? "");
  } catch {
    whole = undefined;
  }
  return { text: whole, bytes, logprob: finite(field(told, "logprob")) ?? 0 };
}

function tokenOf(told: unknown): Token {
  return { ...choiceOf(told), top: list(field(told, "top_logprobs")).map(choiceOf) };
}
