import type { ComponentChildren } from "preact";
import { markdownTexts as texts } from "./texts.ts";

/** Overrides turn the order of letters around, in prose as in code; the other controls hide what code does. */
const overrides = /[\u202d\u202e]/g;
const controls = /[\u202a-\u202e\u2066-\u2069]/g;

/** The text, with characters that would make it read otherwise than it is written shown by their names. */
export function visibleText(text: string, isCode: boolean): ComponentChildren {
  const pattern = isCode ? controls : overrides;
  if (text.search(pattern) === -1) return text;
  const parts: ComponentChildren[] = [];
  let from = 0;
  for (const { index, 0: character } of text.matchAll(pattern)) {
    const code = `U+${character.charCodeAt(0).toString(16).toUpperCase()}`;
    parts.push(text.slice(from, index));
    parts.push(
      <span class="md-hidden" title={texts.hidden.direction(code)}>
        {code}
      </span>,
    );
    from = index + 1;
  }
  parts.push(text.slice(from));
  return parts;
}
