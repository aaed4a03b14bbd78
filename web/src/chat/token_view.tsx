import { useSignal } from "@preact/signals";
import { Component } from "preact";
import { useMemo, useRef } from "preact/hooks";
import { percent } from "../format.ts";
import { texts } from "../texts.ts";
import { runsOf } from "./answering.ts";
import { branchAt } from "./conversing.ts";
import type { Message } from "./message.ts";
import { type Choice, countOf, type PackedTokens, type Piece, piecesOf, tokenAt, withinText } from "./probabilities.ts";
import type { Column, Thread } from "./thread.ts";
import { Alternatives } from "./token_alternatives.tsx";

interface Props {
  thread: Thread;
  column: Column;
  message: Message;
  tokens: PackedTokens;
  isLive: boolean;
}

/** Tokens that are shown at first, and in one piece of the page. */
const AT_FIRST = 4000;
const IN_PIECE = 200;

/** An answer token by token, each tinted by how probable it was. */
export function TokenView({ thread, column, message, tokens, isLive }: Props) {
  const limit = useSignal(AT_FIRST);
  const active = useSignal<{ index: number; element: HTMLElement; isPinned: boolean } | undefined>(undefined);
  const root = useRef<HTMLDivElement>(null);
  const own = useMemo(() => (isLive ? tokens : withinText(tokens, message.text)), [tokens, isLive]);
  const count = countOf(own);
  const shown = Math.min(count, limit.value);
  const pieces = useMemo(() => piecesOf(own, 0, shown), [own, shown]);
  const end = tokens.start + pieces.reduce((sum, piece) => sum + piece.text.length, 0);
  const pick = (event: Event, isPinned: boolean) => {
    const element = event.target instanceof Element ? event.target.closest<HTMLElement>("[data-token]") : null;
    if (element === null) return;
    active.value = { index: Number(element.dataset["token"]), element, isPinned };
  };
  const branch = (index: number, choice: Choice) => {
    active.value = undefined;
    branchAt(thread, column, message.id, index, choice);
  };
  const move = (event: KeyboardEvent) => {
    if (event.key === "Enter" || event.key === " ") {
      pick(event, true);
      event.preventDefault();
      return;
    }
    const all = [...(root.current?.querySelectorAll<HTMLElement>("[data-token]") ?? [])];
    const at = all.findIndex((element) => element === document.activeElement);
    const isRtl = document.documentElement.dir === "rtl";
    const step = event.key === "ArrowRight" ? (isRtl ? -1 : 1) : event.key === "ArrowLeft" ? (isRtl ? 1 : -1) : 0;
    if (at < 0 || step === 0) return;
    event.preventDefault();
    event.stopPropagation();
    all[at + step]?.focus();
  };
  return (
    <div class="tokens" ref={root} role="group" aria-label={texts.probabilities.label} onKeyDown={move}>
      <Legend />
      <p
        dir="auto"
        onPointerOver={(event) => {
          if (event.pointerType === "mouse" && active.peek()?.isPinned !== true) pick(event, false);
        }}
        onPointerLeave={() => {
          if (active.peek()?.isPinned === false) active.value = undefined;
        }}
        onClick={(event) => pick(event, true)}
      >
        {message.text.slice(0, tokens.start)}
        {chunks(pieces).map((chunk) => (
          <Chunk key={chunk[0]?.first ?? 0} pieces={chunk} tokens={tokens} isFirst={chunk[0]?.first === 0} />
        ))}
        {shown === count && message.text.slice(end)}
        {shown === count && countOf(tokens) > count && <EndToken tokens={tokens} index={count} />}
      </p>
      {shown < count && (
        <button type="button" class="button" onClick={() => (limit.value += AT_FIRST)}>
          {texts.probabilities.more(Math.min(AT_FIRST, count - shown))}
        </button>
      )}
      {active.value !== undefined && (
        <Alternatives
          key={active.value.index}
          tokens={tokens}
          index={active.value.index}
          anchor={active.value.element}
          isPinned={active.value.isPinned}
          canBranch={!isLive && runsOf(thread).length === 0}
          onChoose={branch}
          onClose={() => {
            const before = active.peek();
            active.value = undefined;
            if (before?.isPinned === true) before.element.focus();
          }}
        />
      )}
    </div>
  );
}

/** The token that ended the answer, which is no part of its text. */
function EndToken({ tokens, index }: { tokens: PackedTokens; index: number }) {
  const probability = tokenAt(tokens, index)?.probability ?? 0;
  return (
    <span
      class={`token token-end token-${levelOf(probability)}`}
      data-token={index}
      role="button"
      tabIndex={-1}
      aria-label={texts.probabilities.token(texts.probabilities.end, percent(probability))}
    >
      {END_MARK}
    </span>
  );
}

const END_MARK = "∎";

/** What the tints mean. */
function Legend() {
  return (
    <div class="token-legend">
      <span>{texts.probabilities.legendHigh}</span>
      {Array.from({ length: LEVELS }, (_, level) => (
        <i key={level} class={`token-${level}`} />
      ))}
      <span>{texts.probabilities.legendLow}</span>
    </div>
  );
}

function chunks(pieces: readonly Piece[]): Piece[][] {
  const found: Piece[][] = [];
  for (let i = 0; i < pieces.length; i += IN_PIECE) found.push(pieces.slice(i, i + IN_PIECE));
  return found;
}

interface ChunkProps {
  pieces: readonly Piece[];
  tokens: PackedTokens;
  isFirst: boolean;
}

/** A piece of the page with many tokens. One that is full does not change while further ones come. */
class Chunk extends Component<ChunkProps> {
  override shouldComponentUpdate({ pieces }: ChunkProps): boolean {
    const before = this.props.pieces;
    return (
      pieces.length !== before.length ||
      pieces.at(-1)?.text !== before.at(-1)?.text ||
      pieces[0]?.first !== before[0]?.first
    );
  }

  override render({ pieces, tokens, isFirst }: ChunkProps) {
    return (
      <span class="token-chunk">
        {pieces.map((piece, i) => {
          const probability = tokenAt(tokens, piece.first)?.probability ?? 0;
          return (
            <span
              key={piece.first}
              class={`token token-${levelOf(probability)}`}
              data-token={piece.first}
              role="button"
              tabIndex={isFirst && i === 0 ? 0 : -1}
              aria-label={texts.probabilities.token(piece.text, percent(probability))}
            >
              {piece.text}
            </span>
          );
        })}
      </span>
    );
  }
}

const LEVELS = 8;

/** The tint of a token, by how surprising it was. */
function levelOf(probability: number): number {
  return Math.max(0, Math.min(LEVELS - 1, Math.floor(-Math.log2(Math.max(probability, 1e-6)) * 1.2)));
}
