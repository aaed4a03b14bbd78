import type { ChunksView } from "./chunks.ts";

/** A part of a block that is parsed at once. */
export interface Piece {
  /** The Markdown, with code inside list items replaced by placeholders. */
  source: string;
  /** The code that the placeholders stand for, by number. */
  stash: readonly ChunksView[];
  /** The text to show as it is, in place of the source, where it is too large to format. */
  plain: ChunksView | null;
}

interface BlockBase {
  /** Counts up within a text. */
  key: number;
  isOpen: boolean;
  /** Characters, for the page's estimates. */
  size: number;
  lines: number;
}

export interface TextBlock extends BlockBase {
  kind: "text" | "list" | "table" | "note";
  pieces: readonly Piece[];
  /** How many of the pieces belong to this view; the array grows on after it. */
  count: number;
  /** The piece that grows. */
  last: Piece | null;
  /** The number of a list's first item, where it is an ordered list. */
  start: number | null;
}

export interface CodeBlock extends BlockBase {
  kind: "code";
  info: string;
  code: ChunksView;
}

/** A displayed formula whose end has not come: its source would be taken for Markdown. */
export interface FormulaBlock extends BlockBase {
  kind: "formula";
  source: string;
}

export type Block = TextBlock | CodeBlock | FormulaBlock;

export function piecesOf(block: TextBlock): Piece[] {
  const pieces = block.pieces.slice(0, block.count);
  if (block.last !== null) pieces.push(block.last);
  return pieces;
}

const before = "\uE000";
const after = "\uE001";

export function placeholder(index: number): string {
  return `${before}${index}${after}`;
}

/** The stash number where the text is nothing but a placeholder. */
export function placeholderIndex(text: string): number | null {
  const match = /^\uE000(\d{1,6})\uE001$/.exec(text.trim());
  return match === null ? null : Number(match[1]);
}

/** The text with what its placeholders stand for. */
export function withStash(text: string, stash: readonly ChunksView[], textOf: (view: ChunksView) => string): string {
  if (stash.length === 0 || !text.includes(before)) return text;
  return text.replace(/\uE000(\d{1,6})\uE001/g, (whole, index: string) => {
    const view = stash[Number(index)];
    return view === undefined ? whole : textOf(view).replace(/\n$/, "");
  });
}
