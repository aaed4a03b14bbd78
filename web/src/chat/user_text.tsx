import { useSignal } from "@preact/signals";
import { texts } from "../texts.ts";

const LONG_LETTERS = 1500;
const LONG_LINES = 20;

/** What a person wrote, as it was written; long texts are folded. */
export function UserText({ text }: { text: string }) {
  const isOpen = useSignal(false);
  if (text === "") return null;
  const isLong = text.length > LONG_LETTERS || linesOf(text) > LONG_LINES;
  const shown = isLong && !isOpen.value ? beginning(text) : text;
  return (
    <div class="user-text">
      <p dir="auto">{shown}</p>
      {isLong && (
        <button type="button" class="link" aria-expanded={isOpen.value} onClick={() => (isOpen.value = !isOpen.value)}>
          {isOpen.value ? texts.message.showLess : texts.message.showAll}
        </button>
      )}
    </div>
  );
}

function linesOf(text: string): number {
  let lines = 1;
  for (let at = text.indexOf("\n"); at >= 0 && lines <= LONG_LINES; at = text.indexOf("\n", at + 1)) lines++;
  return lines;
}

function beginning(text: string): string {
  const lines = text.slice(0, LONG_LETTERS).split("\n").slice(0, LONG_LINES);
  return `${lines.join("\n").trimEnd()}…`;
}
