import type { Token, TokenChoice } from "../api/completion.ts";

/** How many alternatives are asked for at each token. */
export const ALTERNATIVES = 5;
const WIDTH = ALTERNATIVES + 1;

/**
 * Tokens with their probabilities, stored compactly: numbers of words, `WIDTH` for each token (the one that was taken,
 * then the most probable ones), and as many log-probabilities. Number 0 is no token.
 */
export interface PackedTokens {
  /** Where in the message's text the first token begins. */
  start: number;
  /** Texts of tokens; those that are no whole characters as `NUL` and their bytes in hexadecimal. */
  words: readonly string[];
  ids: Uint32Array;
  logprobs: Float32Array;
}

const BYTES = "\0";

/** One of the tokens that could have stood somewhere. */
export interface Choice {
  /** `undefined` where it is no whole characters. */
  text: string | undefined;
  /** For showing: the text, or its bytes. */
  shown: string;
  probability: number;
}

/** Collects tokens while they come. */
export class TokenRecorder {
  readonly #numbers = new Map<string, number>();
  readonly #words: string[] = [];
  #ids: Uint32Array;
  #logprobs: Float32Array;
  #count: number;

  constructor(
    readonly start: number,
    before?: PackedTokens,
  ) {
    this.#count = before === undefined ? 0 : countOf(before);
    this.#ids = new Uint32Array(Math.max(256, this.#count * 2) * WIDTH);
    this.#logprobs = new Float32Array(this.#ids.length);
    if (before === undefined) return;
    this.#ids.set(before.ids);
    this.#logprobs.set(before.logprobs);
    this.#words.push(...before.words);
    this.#words.forEach((word, i) => this.#numbers.set(word, i + 1));
  }

  get count(): number {
    return this.#count;
  }

  add(token: Token): void {
    if ((this.#count + 1) * WIDTH > this.#ids.length) {
      this.#ids = grown(this.#ids, Uint32Array);
      this.#logprobs = grown(this.#logprobs, Float32Array);
    }
    const at = this.#count * WIDTH;
    [token, ...token.top].slice(0, WIDTH).forEach((choice, i) => {
      this.#ids[at + i] = this.#numberOf(choice);
      this.#logprobs[at + i] = choice.logprob;
    });
    this.#count++;
  }

  #numberOf(choice: TokenChoice): number {
    const hex = () => choice.bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const word = choice.text === undefined || choice.text.startsWith(BYTES) ? BYTES + hex() : choice.text;
    const known = this.#numbers.get(word);
    if (known !== undefined) return known;
    this.#words.push(word);
    this.#numbers.set(word, this.#words.length);
    return this.#words.length;
  }

  pack(): PackedTokens {
    const end = this.#count * WIDTH;
    return {
      start: this.start,
      words: [...this.#words],
      ids: this.#ids.slice(0, end),
      logprobs: this.#logprobs.slice(0, end),
    };
  }
}

function grown<A extends Uint32Array | Float32Array>(array: A, make: new (length: number) => A): A {
  const larger = new make(array.length * 2);
  larger.set(array);
  return larger;
}

export function countOf(tokens: PackedTokens): number {
  return Math.floor(tokens.ids.length / WIDTH);
}

function choiceAt(tokens: PackedTokens, at: number): Choice | undefined {
  const id = tokens.ids[at] ?? 0;
  const word = tokens.words[id - 1];
  if (word === undefined) return undefined;
  const isWhole = !word.startsWith(BYTES);
  const shown = isWhole ? word : (word.slice(1).match(/../g) ?? []).map((byte) => `\\x${byte}`).join("");
  return { text: isWhole ? word : undefined, shown, probability: Math.exp(tokens.logprobs[at] ?? -Infinity) };
}

/** The token that was taken at a place. */
export function tokenAt(tokens: PackedTokens, index: number): Choice | undefined {
  return choiceAt(tokens, index * WIDTH);
}

/** The most probable tokens at a place, the likeliest first. */
export function alternativesAt(tokens: PackedTokens, index: number): Choice[] {
  const found: Choice[] = [];
  for (let i = 1; i < WIDTH; i++) {
    const choice = choiceAt(tokens, index * WIDTH + i);
    if (choice !== undefined) found.push(choice);
  }
  return found;
}

function bytesAt(tokens: PackedTokens, index: number): Uint8Array {
  const word = tokens.words[(tokens.ids[index * WIDTH] ?? 0) - 1] ?? "";
  if (!word.startsWith(BYTES)) return new TextEncoder().encode(word);
  return Uint8Array.from(word.slice(1).match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
}

/** A piece of text, and which tokens say it: several where a character is made of several. */
export interface Piece {
  text: string;
  first: number;
  count: number;
}

/** The tokens from `from` to `to`, as pieces of whole characters. */
export function piecesOf(tokens: PackedTokens, from: number, to: number): Piece[] {
  const pieces: Piece[] = [];
  for (let i = from; i < to; i++) {
    const whole = tokenAt(tokens, i)?.text;
    if (whole !== undefined) {
      pieces.push({ text: whole, first: i, count: 1 });
      continue;
    }
    // Bytes belong together until the next token that is whole.
    let count = 1;
    const bytes = [...bytesAt(tokens, i)];
    while (i + count < to && tokenAt(tokens, i + count)?.text === undefined)
      bytes.push(...bytesAt(tokens, i + count++));
    pieces.push({ text: new TextDecoder().decode(Uint8Array.from(bytes)), first: i, count });
    i += count - 1;
  }
  return pieces;
}

/** What the first tokens say. */
export function textUpTo(tokens: PackedTokens, count: number): string {
  return piecesOf(tokens, 0, count)
    .map((piece) => piece.text)
    .join("");
}

/** The tokens that a text has; after them comes at most the one that ended it, which is no part of it. */
export function withinText(tokens: PackedTokens, text: string): PackedTokens {
  const length = text.length - tokens.start;
  let said = 0;
  let count = 0;
  for (const piece of piecesOf(tokens, 0, countOf(tokens))) {
    said += piece.text.length;
    if (said > length) break;
    count = piece.first + piece.count;
  }
  return { ...tokens, ids: tokens.ids.slice(0, count * WIDTH), logprobs: tokens.logprobs.slice(0, count * WIDTH) };
}

/** The first tokens, and one of the alternatives in the place of the next. */
export function branchedAt(tokens: PackedTokens, index: number, alternative: Choice): PackedTokens {
  const ids = tokens.ids.slice(0, (index + 1) * WIDTH);
  const logprobs = tokens.logprobs.slice(0, (index + 1) * WIDTH);
  ids[index * WIDTH] = tokens.words.indexOf(alternative.text ?? "") + 1;
  logprobs[index * WIDTH] = Math.log(alternative.probability);
  return { ...tokens, ids, logprobs };
}
