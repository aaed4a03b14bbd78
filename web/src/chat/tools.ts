import { field, isObject, type JsonObject, parseJson, text } from "../api/json.ts";
import { calculate } from "./calculator.ts";
import type { Call } from "./message.ts";

/** A tool that a model may call. */
export interface Tool {
  name: string;
  description: string;
  /** What arguments it takes: a JSON schema. */
  parameters: JsonObject;
}

/** How often in a row a model may call tools before a person has a say. */
export const MAX_ROUNDS = 8;

/** Tools that the page itself answers. */
export const BUILT_IN: readonly Tool[] = [
  {
    name: "clock",
    description: "Tells the current date and time.",
    parameters: {
      type: "object",
      properties: {
        timezone: { type: "string", description: "An IANA time zone, such as Europe/Paris; the user's own if absent." },
      },
    },
  },
  {
    name: "calculator",
    description:
      "Computes an arithmetic expression exactly as written: + - * / % ^ !, parentheses, sqrt, ln, log10, sin, round, min, max, pi, e and the like.",
    parameters: {
      type: "object",
      properties: { expression: { type: "string", description: "For example: (3 + 4) * sqrt(2)" } },
      required: ["expression"],
    },
  },
];

export function isBuiltIn(name: string): boolean {
  return BUILT_IN.some((tool) => tool.name === name);
}

/** The result of a built-in tool; `undefined` where a person must give it. */
export function resultOf(call: Call, now: Date): string | undefined {
  if (!isBuiltIn(call.name)) return undefined;
  const given = call.arguments.trim() === "" ? {} : parseJson(call.arguments);
  if (!isObject(given)) return "Error: the arguments are no JSON object.";
  try {
    return call.name === "clock" ? clock(text(field(given, "timezone")), now) : calculator(given);
  } catch (error) {
    return `Error: ${error instanceof Error ? error.message : String(error)}.`;
  }
}

function clock(timezone: string | undefined, now: Date): string {
  const zone = timezone === undefined || timezone === "" ? Intl.DateTimeFormat().resolvedOptions().timeZone : timezone;
  let local: string;
  try {
    local = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "long", timeZone: zone }).format(now);
  } catch {
    throw new Error(`“${zone}” is no time zone`);
  }
  return JSON.stringify({ local, timezone: zone, utc: now.toISOString() });
}

function calculator(given: Record<string, unknown>): string {
  const expression = given["expression"];
  if (typeof expression !== "string") throw new Error("“expression” is missing");
  const value = calculate(expression);
  // Fifteen digits are those that a double holds for certain.
  return Number.isFinite(value) ? String(Number(value.toPrecision(15))) : String(value);
}
