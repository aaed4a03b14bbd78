import { field, finite, isObject, type JsonObject, list, text } from "../api/json.ts";
import { BUILT_IN, type Tool } from "../chat/tools.ts";
import { texts } from "../texts.ts";

/** How tokens are chosen. What is absent is as the model wants it. */
export interface Sampling {
  temperature?: number;
  topP?: number;
  minP?: number;
  topK?: number;
  maxTokens?: number;
  seed?: number;
  repetitionPenalty?: number;
}

/** What a conversation begins with: kept under a name. */
export interface Preset {
  id: string;
  name: string;
  system: string;
  sampling: Sampling;
  stop: readonly string[];
  tools: readonly Tool[];
  /** A JSON schema that answers keep to; empty for free text. */
  schema: string;
}

export const DEFAULT_ID = "default";

export function defaultPreset(): Preset {
  return { id: DEFAULT_ID, name: texts.presets.defaultName, system: "", sampling: {}, stop: [], tools: [], schema: "" };
}

/** Where each number may lie; the server refuses others. */
export const RANGES: Readonly<Record<keyof Sampling, { least: number; most: number; step: number }>> = {
  temperature: { least: 0, most: 5, step: 0.05 },
  topP: { least: 0, most: 1, step: 0.01 },
  minP: { least: 0, most: 1, step: 0.01 },
  topK: { least: 0, most: 1000, step: 1 },
  maxTokens: { least: 1, most: 1_048_576, step: 1 },
  seed: { least: 0, most: Number.MAX_SAFE_INTEGER, step: 1 },
  repetitionPenalty: { least: 0.01, most: 10, step: 0.01 },
};

/** The names that the server has for them. */
const NAMES: Readonly<Record<keyof Sampling, string>> = {
  temperature: "temperature",
  topP: "top_p",
  minP: "min_p",
  topK: "top_k",
  maxTokens: "max_tokens",
  seed: "seed",
  repetitionPenalty: "repetition_penalty",
};

export const SAMPLING_KEYS = Object.keys(NAMES) as readonly (keyof Sampling)[];

/** A preset's settings as fields of a request. */
export function fieldsOf(preset: Preset): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const key of SAMPLING_KEYS) {
    const value = preset.sampling[key];
    if (value !== undefined) fields[NAMES[key]] = value;
  }
  if (preset.stop.length > 0) fields["stop"] = preset.stop;
  return fields;
}

/** What is wrong with a JSON schema; empty where nothing is. */
export function schemaProblem(schema: string): string {
  if (schema.trim() === "") return "";
  try {
    return isObject(JSON.parse(schema)) ? "" : texts.presets.schemaNotObject;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Reads a preset that was stored, maybe by another version of the page. */
export function readPreset(told: unknown): Preset | undefined {
  const id = text(field(told, "id"));
  const name = text(field(told, "name"));
  if (id === undefined || name === undefined) return undefined;
  const sampling: Sampling = {};
  for (const key of SAMPLING_KEYS) {
    const value = finite(field(told, "sampling", key));
    if (value !== undefined) sampling[key] = value;
  }
  const stop = list(field(told, "stop")).filter((entry): entry is string => typeof entry === "string");
  const tools = list(field(told, "tools")).flatMap(readTool);
  return {
    id,
    name,
    system: text(field(told, "system")) ?? "",
    sampling,
    stop,
    tools,
    schema: text(field(told, "schema")) ?? "",
  };
}

function readTool(told: unknown): Tool[] {
  const name = text(field(told, "name"));
  if (name === undefined || name === "") return [];
  const known = BUILT_IN.find((tool) => tool.name === name);
  if (known !== undefined) return [known];
  const parameters = field(told, "parameters");
  const description = text(field(told, "description")) ?? "";
  return [
    {
      name,
      description,
      parameters: isObject(parameters) ? (parameters as JsonObject) : { type: "object", properties: {} },
    },
  ];
}
