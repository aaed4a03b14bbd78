import { useLayoutEffect, useRef } from "preact/hooks";
import { percent } from "../format.ts";
import { texts } from "../texts.ts";
import { placeBeside } from "../ui/placing.ts";
import { alternativesAt, type Choice, type PackedTokens, tokenAt } from "./probabilities.ts";

interface Props {
  tokens: PackedTokens;
  index: number;
  anchor: HTMLElement;
  /** Whether it was opened to choose something, and not in passing. */
  isPinned: boolean;
  canBranch: boolean;
  onChoose: (index: number, choice: Choice) => void;
  onClose: () => void;
}

/** What could have stood in a token's place, and how probable each would have been. */
export function Alternatives({ tokens, index, anchor, isPinned, canBranch, onChoose, onClose }: Props) {
  const box = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const element = box.current;
    if (element === null) return;
    // A token that is broken between two lines is where it begins.
    const place = () => {
      const line = anchor.getClientRects()[0];
      if (line === undefined || line.bottom < 0 || line.top > window.innerHeight) onClose();
      else placeBeside(element, line);
    };
    element.showPopover();
    place();
    if (isPinned) element.querySelector<HTMLElement>("button:not(:disabled)")?.focus();
    const outside = (event: Event) => {
      if (event.target instanceof Node && !element.contains(event.target) && !anchor.contains(event.target)) onClose();
    };
    document.addEventListener("pointerdown", outside);
    document.addEventListener("scroll", place, { capture: true, passive: true });
    return () => {
      document.removeEventListener("pointerdown", outside);
      document.removeEventListener("scroll", place, { capture: true });
    };
  }, [isPinned]);
  const taken = tokenAt(tokens, index);
  const listed = alternativesAt(tokens, index);
  const isListed = listed.some((choice) => choice.shown === taken?.shown);
  const all = (taken === undefined || isListed ? listed : [...listed, taken]).toSorted(
    (a, b) => b.probability - a.probability,
  );
  const move = (event: KeyboardEvent) => {
    if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      onClose();
      return;
    }
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step === 0) return;
    event.preventDefault();
    event.stopPropagation();
    const buttons = [...(box.current?.querySelectorAll<HTMLElement>("button:not(:disabled)") ?? [])];
    buttons.at((buttons.findIndex((button) => button === document.activeElement) + step) % buttons.length)?.focus();
  };
  return (
    <div
      ref={box}
      class="menu alternatives"
      popover="manual"
      role="group"
      aria-label={texts.probabilities.alternatives}
      onKeyDown={move}
    >
      {all.map((choice, i) => {
        const isTaken = choice.shown === taken?.shown;
        return (
          <button
            key={i}
            type="button"
            class={isTaken ? "alternative alternative-taken" : "alternative"}
            disabled={isTaken || !canBranch || choice.text === undefined}
            title={choice.text === undefined ? texts.probabilities.cannotBranch : undefined}
            onClick={() => onChoose(index, choice)}
          >
            <span class="alternative-bar" style={{ inlineSize: `${Math.max(0.5, choice.probability * 100)}%` }} />
            <code>{visible(choice.shown)}</code>
            <span>{percent(choice.probability)}</span>
          </button>
        );
      })}
      {canBranch && <p class="menu-hint">{texts.probabilities.hint}</p>}
    </div>
  );
}

/** Space that would not be seen. */
function visible(text: string): string {
  return text.replaceAll("\n", "↵").replaceAll("\t", "⇥").replace(/^ | $/g, "␣");
}
