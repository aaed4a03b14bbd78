import { field, finite, isObject, list, text } from "../api/json.ts";
import {
  type Call,
  type Figures,
  type Finish,
  type Message,
  newId,
  type Role,
  ROOT,
  type Verdict,
} from "../chat/message.ts";
import type { PackedTokens } from "../chat/probabilities.ts";
import { texts } from "../texts.ts";
import type { Conversation, StoredColumn } from "./store.ts";

const FORMAT = "puna-conversations";
const VERSION = 1;

/** The largest file, and the most that it may hold. */
export const MAX_FILE_BYTES = 512 * 1024 * 1024;
const MAX_CONVERSATIONS = 100_000;
const MAX_MESSAGES = 200_000;
const MAX_TITLE = 500;
const MAX_ID = 100;

export interface Whole {
  conversation: Conversation;
  messages: readonly Message[];
}

/** Conversations as a JSON file, piece by piece: all of them together may be large. */
export function* exported(all: Iterable<Whole>): Generator<string> {
  yield `{"format":"${FORMAT}","version":${VERSION},"conversations":[`;
  let isFirst = true;
  for (const { conversation, messages } of all) {
    const { deletedAt: _, ...kept } = conversation;
    yield (isFirst ? "\n" : ",\n") + JSON.stringify({ ...kept, messages: messages.map(plain) });
    isFirst = false;
  }
  yield "\n]}\n";
}

function plain(message: Message): unknown {
  if (message.tokens === undefined) return message;
  const { ids, logprobs, ...rest } = message.tokens;
  // Four decimals are more than anybody sees.
  const rounded = Array.from(logprobs, (logprob) => Math.round(logprob * 1e4) / 1e4);
  return { ...message, tokens: { ...rest, ids: Array.from(ids), logprobs: rounded } };
}

export interface Imported {
  whole: readonly Whole[];
  /** How many conversations of the file could not be read. */
  broken: number;
}

/** A file that cannot be imported, and why. */
export class ImportError extends Error {}

/** Reads a JSON file of conversations. Those that are broken are left out and counted. */
export function imported(file: string): Imported {
  let told: unknown;
  try {
    told = JSON.parse(file);
  } catch {
    throw new ImportError(texts.transfer.notJson);
  }
  if (!isObject(told) || told["format"] !== FORMAT || !Array.isArray(told["conversations"])) {
    throw new ImportError(texts.transfer.notOurs);
  }
  const version = finite(told["version"]) ?? 0;
  if (version > VERSION) throw new ImportError(texts.transfer.tooNew);
  const entries = list(told["conversations"]);
  if (entries.length > MAX_CONVERSATIONS) throw new ImportError(texts.transfer.tooMany);
  const read = entries.map(readWhole);
  const whole = read.filter((entry): entry is Whole => entry !== undefined);
  return { whole, broken: read.length - whole.length };
}

function readWhole(told: unknown): Whole | undefined {
  const entries = field(told, "messages");
  const title = text(field(told, "title"));
  if (!isObject(told) || !Array.isArray(entries) || title === undefined || entries.length > MAX_MESSAGES)
    return undefined;
  const read = new Map<string, Message>();
  const answers = new Map<string, string[]>();
  for (const entry of entries) {
    const message = readMessage(entry);
    if (message === undefined || message.id === ROOT || read.has(message.id)) return undefined;
    read.set(message.id, message);
    const siblings = answers.get(message.parent);
    if (siblings === undefined) answers.set(message.parent, [message.id]);
    else siblings.push(message.id);
  }
  // What the beginning leads to; so there are no circles, and what answers nothing is left out.
  const known = new Set<string>([ROOT]);
  for (const id of known) for (const answer of answers.get(id) ?? []) known.add(answer);
  const messages = [...read.values()].filter((message) => known.has(message.id));
  if (messages.length === 0 && read.size > 0) return undefined;
  const now = Date.now();
  const columns = list(field(told, "columns"))
    .map((column) => readColumn(column, known))
    .slice(0, 2);
  const conversation: Conversation = {
    id: identifier(told["id"]) ?? newId(),
    title: title.slice(0, MAX_TITLE),
    isNamed: told["isNamed"] === true,
    isPinned: told["isPinned"] === true,
    created: finite(told["created"]) ?? now,
    changed: finite(told["changed"]) ?? now,
    preset: identifier(told["preset"]) ?? "",
    columns: columns.length > 0 ? columns : [{ model: "", chosen: [] }],
  };
  return { conversation, messages };
}

function identifier(told: unknown): string | undefined {
  const id = text(told);
  return id !== undefined && id !== "" && id.length <= MAX_ID ? id : undefined;
}

function readColumn(told: unknown, known: ReadonlySet<string>): StoredColumn {
  const chosen = list(field(told, "chosen")).flatMap((pair): [string, string][] => {
    const [parent, child] = [text(field(pair, 0)), text(field(pair, 1))];
    return parent !== undefined && child !== undefined && known.has(parent) && known.has(child)
      ? [[parent, child]]
      : [];
  });
  return { model: text(field(told, "model")) ?? "", chosen };
}

const ROLES: readonly string[] = ["user", "assistant", "tool"];
const FINISHES: readonly string[] = ["stop", "length", "tool_calls", "stopped", "failed"];

function readMessage(told: unknown): Message | undefined {
  const id = identifier(field(told, "id"));
  const parent = text(field(told, "parent"));
  const role = text(field(told, "role"));
  const said = text(field(told, "text"));
  if (id === undefined || parent === undefined || role === undefined || !ROLES.includes(role) || said === undefined)
    return undefined;
  const message: Message = { id, parent, role: role as Role, text: said, at: finite(field(told, "at")) ?? 0 };
  const put = <K extends keyof Message>(key: K, value: Message[K] | undefined) => {
    if (value !== undefined) message[key] = value;
  };
  put("model", text(field(told, "model")));
  put("callId", text(field(told, "callId")));
  put("problem", text(field(told, "problem")));
  put("leftOut", finite(field(told, "leftOut")));
  put("calls", readCalls(field(told, "calls")));
  put("figures", readFigures(field(told, "figures")));
  put("verdict", readVerdict(field(told, "verdict")));
  put("tokens", readTokens(field(told, "tokens")));
  const finish = text(field(told, "finish"));
  if (role === "assistant") message.finish = FINISHES.includes(finish ?? "") ? (finish as Finish) : "stopped";
  // A picture of another origin would be fetched where it is shown.
  const pictures = strings(field(told, "pictures")).filter((url) =>
    /^data:image\/(png|jpeg|webp|gif);base64,/.test(url),
  );
  if (pictures.length > 0) message.pictures = pictures;
  return message;
}

function strings(told: unknown): string[] {
  return list(told).filter((entry): entry is string => typeof entry === "string");
}

function readCalls(told: unknown): readonly Call[] | undefined {
  if (!Array.isArray(told)) return undefined;
  return told.map((call) => ({
    id: text(field(call, "id")) ?? "",
    name: text(field(call, "name")) ?? "",
    arguments: text(field(call, "arguments")) ?? "",
  }));
}

function readFigures(told: unknown): Figures | undefined {
  if (!isObject(told)) return undefined;
  const figures: Figures = {
    promptTokens: finite(told["promptTokens"]) ?? 0,
    cachedTokens: finite(told["cachedTokens"]) ?? 0,
    completionTokens: finite(told["completionTokens"]) ?? 0,
  };
  const firstTokenS = finite(told["firstTokenS"]);
  const tokensPerS = finite(told["tokensPerS"]);
  if (firstTokenS !== undefined) figures.firstTokenS = firstTokenS;
  if (tokensPerS !== undefined) figures.tokensPerS = tokensPerS;
  return figures;
}

function readVerdict(told: unknown): Verdict | undefined {
  const isSafe = field(told, "isSafe");
  return typeof isSafe === "boolean" ? { isSafe, categories: strings(field(told, "categories")) } : undefined;
}

function readTokens(told: unknown): PackedTokens | undefined {
  const [ids, logprobs] = [list(field(told, "ids")), list(field(told, "logprobs"))];
  const start = finite(field(told, "start"));
  const numbers = (entries: readonly unknown[]) => entries.map((entry) => finite(entry) ?? 0);
  if (start === undefined || ids.length === 0 || ids.length !== logprobs.length) return undefined;
  return {
    start,
    words: strings(field(told, "words")),
    ids: Uint32Array.from(numbers(ids)),
    logprobs: Float32Array.from(numbers(logprobs)),
  };
}

/** The shown messages of a conversation as Markdown. */
export function markdownOf(title: string, path: readonly Message[]): string {
  const parts = path.map((message) => {
    const who =
      message.role === "user"
        ? texts.message.you
        : message.role === "tool"
          ? texts.tools.result
          : (message.model ?? texts.message.assistant);
    const pictures = message.pictures === undefined ? "" : `\n\n*${texts.message.pictures(message.pictures.length)}*`;
    const calls = (message.calls ?? []).map((call) => `\n\n\`${call.name}(${call.arguments})\``).join("");
    return `## ${who}\n\n${message.text}${pictures}${calls}`.trimEnd();
  });
  return `# ${title}\n\n${parts.join("\n\n")}\n`;
}
