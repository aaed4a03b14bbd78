import { measured, seconds } from "../format.ts";
import { texts } from "../texts.ts";
import type { Figures } from "./message.ts";

/** How fast an answer came, and what it took. */
export function FiguresLine({ figures }: { figures: Figures }) {
  const parts: string[] = [];
  if (figures.tokensPerS !== undefined) parts.push(texts.units.tokensPerS(measured(figures.tokensPerS)));
  if (figures.firstTokenS !== undefined) parts.push(texts.figures.firstToken(seconds(figures.firstTokenS)));
  if (figures.promptTokens > 0) parts.push(texts.figures.prompt(figures.promptTokens, figures.cachedTokens));
  if (figures.completionTokens > 0) parts.push(texts.figures.out(figures.completionTokens));
  return (
    <p class="figures-line">
      {parts.map((part) => (
        <span key={part} dir="auto">
          {part}
        </span>
      ))}
    </p>
  );
}
