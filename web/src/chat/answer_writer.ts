import { batch, signal } from "@preact/signals";
import type { CallPiece, Heard, Token, Usage } from "../api/completion.ts";
import { onFrame } from "../ui/frame.ts";
import type { Call, Figures } from "./message.ts";
import { countOf, type PackedTokens, TokenRecorder, textUpTo, withinText } from "./probabilities.ts";
import type { Thread } from "./thread.ts";

/** How far an answer is, for whoever watches it come. */
export interface Progress {
  tokens: number;
  tokensPerS: number | undefined;
}

/** How often figures of an answer that is coming are shown anew. */
const PROGRESS_MS = 500;
/** Up to how many tokens an answer shows its probabilities while it comes. */
const MAX_LIVE_TOKENS = 2000;
/** How often text is shown: it seems to flow, and costs a third of what every frame would. */
const SHOW_MS = 40;

/** Writes what is heard of an answer into its message, some times a second. */
export class AnswerWriter implements Heard {
  readonly progress = signal<Progress>({ tokens: 0, tokensPerS: undefined });
  #pending = "";
  #calls: Call[] = [];
  #hasNewCalls = false;
  #isPlanned = false;
  #flushedAt = 0;
  #recorder: TokenRecorder | undefined;
  #tokens = 0;
  #shownAt = 0;
  #askedAt = 0;
  #firstAt: number | undefined;
  #lastAt = 0;
  #firstTokenS: number | undefined;
  #usage: Usage | undefined;
  /** What stood there before anything was heard. */
  readonly #begun: { text: string; tokens: PackedTokens | undefined };

  constructor(
    readonly thread: Thread,
    readonly id: string,
    readonly onFirst: () => void,
  ) {
    const message = thread.tree.get(id);
    this.#begun = { text: message?.text ?? "", tokens: message?.tokens };
  }

  /** Tokens that were heard in all attempts. */
  get tokenCount(): number {
    return this.#tokens;
  }

  /** Prepares for another attempt: the answer goes on where its text ends. */
  begin(withTokens: boolean): void {
    this.flush();
    const message = this.thread.tree.get(this.id);
    this.#calls = [];
    this.#hasNewCalls = false;
    this.#askedAt = performance.now();
    this.#firstAt = undefined;
    if (!withTokens || message === undefined) {
      this.#save();
      this.#recorder = undefined;
    } else if (this.#recorder === undefined) {
      const before = message.tokens === undefined ? undefined : withinText(message.tokens, message.text);
      const reaches =
        before !== undefined && before.start + textUpTo(before, countOf(before)).length === message.text.length;
      this.#recorder = reaches ? new TokenRecorder(before.start, before) : new TokenRecorder(message.text.length);
    }
  }

  /** Takes back the calls that an attempt began, or all that attempts wrote. */
  forget(all: boolean): void {
    this.flush();
    if (all) {
      this.#recorder = undefined;
      this.#tokens = 0;
    }
    this.thread.update(this.id, ({ calls: _, ...message }) => {
      if (!all) return message;
      const { tokens: __, ...rest } = message;
      const { text, tokens } = this.#begun;
      return tokens === undefined ? { ...rest, text } : { ...rest, text, tokens };
    });
  }

  text(piece: string): void {
    this.#hear();
    this.#pending += piece;
    this.#tokens++;
    this.#plan();
  }

  tokens(tokens: readonly Token[]): void {
    this.#hear();
    for (const token of tokens) this.#recorder?.add(token);
  }

  call(piece: CallPiece): void {
    this.#hear();
    const before = this.#calls[piece.index];
    this.#calls[piece.index] = {
      id: piece.id ?? before?.id ?? `call_${piece.index}`,
      name: piece.name ?? before?.name ?? "",
      arguments: (before?.arguments ?? "") + (piece.arguments ?? ""),
    };
    this.#tokens++;
    this.#hasNewCalls = true;
    this.#plan();
  }

  #hear(): void {
    this.#lastAt = performance.now();
    if (this.#firstAt !== undefined) return;
    this.#firstAt = this.#lastAt;
    this.#firstTokenS ??= (this.#lastAt - this.#askedAt) / 1000;
    this.onFirst();
  }

  #plan(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    const show = () => {
      this.#isPlanned = false;
      this.flush();
    };
    const wait = this.#flushedAt + SHOW_MS - performance.now();
    if (wait <= 0) onFrame(show);
    else setTimeout(() => onFrame(show), wait);
  }

  /** Writes what was heard so far. */
  flush(): void {
    if (this.#pending === "" && !this.#hasNewCalls) return;
    const piece = this.#pending;
    const calls = this.#hasNewCalls ? this.#calls.filter(() => true) : undefined;
    this.#pending = "";
    this.#hasNewCalls = false;
    this.#flushedAt = performance.now();
    const isDue = this.#lastAt - this.#shownAt > PROGRESS_MS;
    if (isDue) this.#shownAt = this.#lastAt;
    const tokens = isDue && (this.#recorder?.count ?? Infinity) <= MAX_LIVE_TOKENS ? this.#recorder?.pack() : undefined;
    batch(() => {
      this.thread.update(this.id, (message) => {
        const changed = { ...message, text: message.text + piece };
        if (calls !== undefined) changed.calls = calls;
        if (tokens !== undefined) changed.tokens = tokens;
        return changed;
      });
      if (isDue) this.progress.value = { tokens: this.#tokens, tokensPerS: this.#speed() };
    });
  }

  #speed(): number | undefined {
    const seconds = (this.#lastAt - (this.#firstAt ?? this.#lastAt)) / 1000;
    return seconds > 0.2 ? (this.#tokens - 1) / seconds : undefined;
  }

  /** Adds what the server counted of one attempt. */
  count(usage: Usage | undefined): void {
    if (usage === undefined) return;
    const before = this.#usage;
    const { promptTokens, cachedTokens } = before ?? usage;
    const completionTokens = (before?.completionTokens ?? 0) + usage.completionTokens;
    this.#usage = { ...usage, promptTokens, cachedTokens, completionTokens };
  }

  #save(): void {
    const recorder = this.#recorder;
    if (recorder === undefined || recorder.count === 0) return;
    this.thread.update(this.id, (message) => ({ ...message, tokens: recorder.pack() }));
  }

  /** Writes the rest, and the figures where the server counted or something was heard. */
  end(): Figures | undefined {
    this.flush();
    this.#save();
    if (this.#usage === undefined && this.#firstTokenS === undefined) return undefined;
    const figures: Figures = {
      promptTokens: this.#usage?.promptTokens ?? 0,
      cachedTokens: this.#usage?.cachedTokens ?? 0,
      completionTokens: this.#usage?.completionTokens ?? this.#tokens,
    };
    const speed = this.#usage?.tokensPerS ?? this.#speed();
    if (this.#firstTokenS !== undefined) figures.firstTokenS = this.#firstTokenS;
    if (speed !== undefined) figures.tokensPerS = speed;
    return figures;
  }
}
