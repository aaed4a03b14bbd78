import { parseMarkdown } from "./parse.ts";

/** Of each construct a little, so that no single one takes long. */
const samples = ["a **b** *c* `d` [e](f)", "- a\n- b", "| a |\n|---|\n| b |", "# a\n\n> b", "$a$ https://b.c"];

/**
 * Has the parser compiled while nobody waits: its first run takes ten times as long as the next ones, and would be amid the
 * opening of a conversation or an answer's first words.
 */
export function warmUp(): void {
  if (typeof requestIdleCallback === "undefined") return;
  const next = (index: number): void => {
    const sample = samples[index];
    if (sample === undefined) return;
    requestIdleCallback(() => {
      parseMarkdown(sample);
      next(index + 1);
    });
  };
  next(0);
}
