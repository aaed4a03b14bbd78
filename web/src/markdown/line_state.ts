import {
  closesFence,
  closesMaths,
  delimiterCells,
  fenceOf,
  indentOf,
  isHeading,
  isSetextUnderline,
  isThematicBreak,
  listMarkerOf,
  mathsFenceOf,
  noteIdOf,
  splitRow,
  type Fence,
  type Indent,
  type MathsFence,
} from "./lines.ts";
import { limits } from "./limits.ts";

export type StateKind =
  | "none"
  | "paragraph"
  | "quote"
  | "indented"
  | "list"
  | "note"
  | "table"
  | "fence"
  | "maths"
  | "single";

/** What the lines so far leave open at the top level. */
export interface LineState {
  kind: StateKind;
  /** Which block the last line continued depends on more than is tracked here: nothing is cut until the block surely ends. */
  isUnsure: boolean;
  /** Whether the last line was blank. */
  isBlank: boolean;
  /** The column from which a line belongs to the open list item or footnote. */
  content: number;
  /** The list's mark. */
  mark: string;
  /** The open top-level code fence; in a list, the one in its item. */
  fence: Fence | null;
  closer: MathsFence["closer"];
  /** The first line of a paragraph, which may turn out to be a table's head. */
  first: string | null;
}

export type LineAction =
  /** The line continues the open block. */
  | "append"
  /** …as a further list item or table row, before which the block may be cut. */
  | "item"
  /** …as code within a list item. */
  | "stash"
  /** …and is a table's delimiter row. */
  | "head"
  /** The line begins a block. */
  | "open"
  /** The line is the last of the open block. */
  | "close"
  /** A blank line ends the open block. */
  | "end"
  /** A blank line that may or may not belong to the open block. */
  | "blank";

export interface Step {
  state: LineState;
  action: LineAction;
}

export const startState: LineState = {
  kind: "none",
  isUnsure: false,
  isBlank: false,
  content: 0,
  mark: "",
  fence: null,
  closer: "$$",
  first: null,
};

/** Where a code fence stands that a line would open, or `none` where it would open none. */
export type FencePlace = "top" | "inner" | "none";

/**
 * Takes one line, without its line end. `placeFence` finds out from the open block's text where a fence would stand. Where blocks end is decided as CommonMark does where that is certain; where it is not,
 * lines stay together, which is always right: the parser then finds the blocks within.
 */
export function step(state: LineState, line: string, placeFence: (line: string) => FencePlace): Step {
  if (state.kind === "fence" && state.fence !== null) return stepFence(state, state.fence, line);
  const indent = indentOf(line);
  if (indent.rest === "") return stepBlank(state);
  switch (state.kind) {
    case "none":
    case "single":
    case "fence":
      return open(line, indent);
    case "indented":
      return indent.columns >= 4 ? append({ ...state, isBlank: false }) : open(line, indent);
    case "list":
    case "note":
      return stepItem(state, line, indent, placeFence);
    case "quote":
      return stepQuote(state, line, indent);
    case "maths":
      return stepMaths(state, line, indent);
    case "paragraph":
    case "table":
      return stepParagraph(state, line, indent);
  }
}

function append(state: LineState): Step {
  return { state, action: "append" };
}

function stepFence(state: LineState, fence: Fence, line: string): Step {
  const { columns, rest } = indentOf(line);
  if (columns <= 3 && closesFence(fence, rest)) return { state: startState, action: "close" };
  return append(state);
}

function stepBlank(state: LineState): Step {
  switch (state.kind) {
    case "none":
      return { state, action: "blank" };
    case "list":
    case "note":
    case "indented":
      return { state: { ...state, isBlank: true }, action: "blank" };
    default:
      return { state: startState, action: "end" };
  }
}

/** A line that begins a block at the top level. */
function open(line: string, indent: Indent): Step {
  const opened = (more: Partial<LineState>): Step => ({ state: { ...startState, ...more }, action: "open" });
  const { rest } = indent;
  if (indent.columns >= 4) return opened({ kind: "indented" });
  if (isHeading(rest) || isThematicBreak(rest)) return opened({ kind: "single" });
  const fence = fenceOf(indent);
  if (fence !== null) return opened({ kind: "fence", fence });
  if (rest.startsWith(">")) return opened({ kind: "quote" });
  const marker = listMarkerOf(indent);
  if (marker !== null) {
    const inner = innerFence(rest.slice(marker.content - indent.columns), marker.content);
    return opened({ kind: "list", content: marker.content, mark: marker.mark, fence: inner });
  }
  if (noteIdOf(rest) !== null) return opened({ kind: "note", content: 4 });
  const maths = mathsFenceOf(rest);
  if (maths !== null) return opened(maths.isClosed ? { kind: "single" } : { kind: "maths", closer: maths.closer });
  return opened({ kind: "paragraph", first: line });
}

/** A code fence right after a list marker. */
function innerFence(text: string, column: number): Fence | null {
  const indent = indentOf(text);
  if (indent.columns > 3) return null;
  return fenceOf({ columns: column + indent.columns, rest: indent.rest });
}

/** Whether the line begins a block that ends any paragraph before it, in a container or not. */
function interrupts({ columns, rest }: Indent): boolean {
  if (columns > 3) return false;
  return (
    isHeading(rest) ||
    isThematicBreak(rest) ||
    fenceOf({ columns, rest }) !== null ||
    rest.startsWith(">") ||
    mathsFenceOf(rest) !== null
  );
}

/** Whether a line of dashes may make the lines before it a heading, where they may not belong to the container. */
function mayUnderline(state: LineState, { columns, rest }: Indent): boolean {
  return state.isUnsure && !state.isBlank && columns <= 3 && isSetextUnderline(rest);
}

/** Whether the line begins a list even right after a paragraph. */
function interruptsAsList(indent: Indent): boolean {
  if (indent.columns > 3) return false;
  const marker = listMarkerOf(indent);
  return marker !== null && !marker.isEmpty && (marker.start === null || marker.start === 1);
}

/** A line that may belong to a list or not, after which the list's rules are kept to, but nothing is cut. */
function keep(state: LineState, indent: Indent): Step {
  const marker = indent.columns <= 3 ? listMarkerOf(indent) : null;
  if (marker !== null) {
    const content = state.content === 0 ? marker.content : Math.min(state.content, marker.content);
    return append({ ...startState, kind: "list", isUnsure: true, content, mark: marker.mark });
  }
  if (indent.columns <= 3 && noteIdOf(indent.rest) !== null) {
    return append({ ...startState, kind: "note", isUnsure: true, content: 4 });
  }
  return append({ ...state, isUnsure: true, isBlank: false, fence: null });
}

function stepItem(state: LineState, line: string, indent: Indent, placeFence: (line: string) => FencePlace): Step {
  if (indent.columns >= state.content) return stepWithinItem(state, line, indent, placeFence);
  if (mayUnderline(state, indent)) return keep(state, indent);
  // A break of dashes or stars wins over the list item that it could be; a heading, fence or quotation ends the list.
  if (interrupts(indent)) return open(line, indent);
  const marker = indent.columns <= 3 ? listMarkerOf(indent) : null;
  if (marker !== null && state.isUnsure) return keep(state, indent);
  if (marker !== null && state.kind === "list" && marker.mark === state.mark) {
    const fence = innerFence(indent.rest.slice(marker.content - indent.columns), marker.content);
    return { state: { ...state, content: marker.content, isBlank: false, fence }, action: "item" };
  }
  if (state.isBlank || interruptsAsList(indent)) return open(line, indent);
  if (state.kind === "note" && indent.columns <= 3 && noteIdOf(indent.rest) !== null) return open(line, indent);
  return keep(state, indent);
}

function stepWithinItem(state: LineState, line: string, indent: Indent, placeFence: (line: string) => FencePlace): Step {
  const next = { ...state, isBlank: false };
  const { fence } = state;
  if (fence !== null) {
    if (indent.columns <= fence.indent + 3 && closesFence(fence, indent.rest)) return append({ ...next, fence: null });
    if (indent.columns >= fence.indent) return { state: next, action: "stash" };
    return append({ ...next, fence: null });
  }
  const opened = fenceOf(indent);
  if (opened === null) return append(next);
  const place = state.isUnsure ? placeFence(line) : "inner";
  if (place === "top") return open(line, indent);
  return append(place === "inner" ? { ...next, fence: opened } : next);
}

function stepQuote(state: LineState, line: string, indent: Indent): Step {
  if (indent.columns <= 3 && indent.rest.startsWith(">")) return append({ ...state, isUnsure: false });
  if (mayUnderline(state, indent)) return keep(state, indent);
  if (interrupts(indent) || interruptsAsList(indent)) return open(line, indent);
  return keep(state, indent);
}

function stepMaths(state: LineState, line: string, indent: Indent): Step {
  if (closesMaths(state.closer, line)) return { state: startState, action: "close" };
  // Code is no formula: what looked like one was not.
  if (indent.columns <= 3 && fenceOf(indent) !== null) return open(line, indent);
  return append(state);
}

function stepParagraph(state: LineState, line: string, indent: Indent): Step {
  if (indent.columns > 3) return state.kind === "table" ? keep({ ...state, kind: "paragraph" }, indent) : append({ ...state, first: null });
  const isUnderline = state.kind === "paragraph" && isSetextUnderline(indent.rest);
  if ((!isUnderline && interrupts(indent)) || interruptsAsList(indent)) return open(line, indent);
  if (state.kind === "table") {
    if (listMarkerOf(indent) !== null || noteIdOf(indent.rest) !== null) return keep({ ...state, kind: "paragraph" }, indent);
    return { state, action: "item" };
  }
  const cells = delimiterCells(indent.rest);
  if (cells > 0 && indent.rest.includes("|") && state.first !== null && cells <= limits.columns && splitRow(state.first).length === cells) {
    return { state: { ...startState, kind: "table" }, action: "head" };
  }
  // A line of dashes may be a heading's or a table's: what follows is then no paragraph any more.
  if (!state.isUnsure && (isUnderline || cells > 0)) return append({ ...state, isUnsure: true, first: null });
  if (state.isUnsure || noteIdOf(indent.rest) !== null) return keep({ ...state, first: null }, indent);
  return append({ ...state, first: null });
}
