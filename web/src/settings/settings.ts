import { effect, type Signal, signal } from "@preact/signals";
import { field, flag, parseJson, text } from "../api/json.ts";
import { texts } from "../texts.ts";

export type Theme = "system" | "light" | "dark";
export type Direction = "ltr" | "rtl";

const STORED = "puna.settings";

const stored = parseJson(read() ?? "");

/** What a person chose for this browser. */
export const settings = {
  theme: signal<Theme>(oneOf(text(field(stored, "theme")), ["system", "light", "dark"], "system")),
  direction: signal<Direction>(oneOf(text(field(stored, "direction")), ["ltr", "rtl"], "ltr")),
  /** Whether answers come with their tokens' probabilities. */
  probabilities: signal(flag(field(stored, "probabilities")) ?? false),
  /** Whether Enter sends a message, or Ctrl and Enter. */
  enterSends: signal(flag(field(stored, "enterSends")) ?? true),
  /** Whether single letters are shortcuts. */
  singleKeys: signal(flag(field(stored, "singleKeys")) ?? true),
  /** Whether a guard that is served judges messages. */
  guardChecks: signal(flag(field(stored, "guardChecks")) ?? true),
  sidebar: signal(flag(field(stored, "sidebar")) ?? true),
  /** The model that new conversations begin with. */
  model: signal(text(field(stored, "model")) ?? ""),
  preset: signal(text(field(stored, "preset")) ?? ""),
};

function oneOf<T extends string>(value: string | undefined, known: readonly T[], otherwise: T): T {
  return known.find((one) => one === value) ?? otherwise;
}

function read(): string | null {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}

/** Keeps settings, and applies those that the whole page shows. Called once. */
export function applySettings(): void {
  effect(() => {
    const values = Object.fromEntries(
      Object.entries(settings).map(([name, value]: [string, Signal<unknown>]) => [name, value.value]),
    );
    try {
      localStorage.setItem(STORED, JSON.stringify(values));
    } catch {
      // They last as long as the page then.
    }
  });
  effect(() => {
    const root = document.documentElement;
    if (settings.theme.value === "system") delete root.dataset["theme"];
    else root.dataset["theme"] = settings.theme.value;
    root.dir = settings.direction.value;
    root.lang = texts.language;
  });
}
