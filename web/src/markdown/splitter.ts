import type { Block } from "./block.ts";
import { limits } from "./limits.ts";
import { fenceOf, indentOf, listMarkerOf } from "./lines.ts";
import { placeFence } from "./fence_place.ts";
import { startState, step, type LineState, type Step } from "./line_state.ts";
import { OpenBlock, type OpenKind } from "./open_block.ts";

/** A line of more characters is read by its start, and what follows is added to it as it comes. */
const longLine = limits.paragraph;

/**
 * Splits growing Markdown into its top-level blocks. What a block holds once it is closed never changes, and the blocks do
 * not depend on how the text was cut into pieces when it came.
 */
export class Splitter {
  /** Closed blocks that were not taken yet. */
  #closed: Block[] = [];
  #open: OpenBlock | null = null;
  #state: LineState = startState;
  #blanks = 0;
  #nextKey = 0;
  /** The line that has not ended. */
  #line = "";
  /** Whether the start of that line has already gone into the open block. */
  #isLineTaken = false;
  /** Whether the rest of that line shows nowhere: it is a fence's. */
  #isLineDropped = false;
  #hasReturn = false;

  feed(text: string): void {
    const normal = this.#withLineFeeds(text);
    let from = 0;
    for (;;) {
      const end = normal.indexOf("\n", from);
      this.#addToLine(end === -1 ? normal.slice(from) : normal.slice(from, end));
      if (end === -1) return;
      this.#endLine();
      from = end + 1;
    }
  }

  /** The text is complete. */
  end(): void {
    if (this.#line !== "" || this.#isLineTaken) this.#endLine();
    this.#close();
  }

  /** The blocks closed since the last call. */
  take(): Block[] {
    const closed = this.#closed;
    this.#closed = [];
    return closed;
  }

  /** The blocks that still grow, as they look with the line that has not ended. */
  growing(): Block[] {
    const open = this.#open;
    if (this.#isLineTaken || this.#line === "") {
      if (open === null) return [];
      return [this.#state.kind === "maths" ? open.viewFormula("") : open.view(true)];
    }
    const { action, state } = this.#step(this.#line);
    const isFresh = action === "open" || open === null;
    if (!isFresh) {
      if (open.kind === "code") return [open.viewCode(this.#line)];
      if (action === "stash" || action === "blank" || action === "end") return [open.view(true)];
      const more = "\n".repeat(this.#blanks + 1) + this.#line;
      return [state.kind === "maths" ? open.viewFormula(more) : open.view(true, more)];
    }
    if (action !== "open") return [];
    const fresh = this.#create(this.#nextKey, state, this.#line);
    if (fresh.kind !== "code") fresh.appendLine(this.#line, 0);
    const view = state.kind === "maths" ? fresh.viewFormula("") : fresh.view(true);
    return open === null ? [view] : [open.view(false), view];
  }

  /** A carriage return ends a line, with a line feed after it or without. */
  #withLineFeeds(text: string): string {
    let normal = this.#hasReturn && text.startsWith("\n") ? text.slice(1) : text;
    if (text !== "") this.#hasReturn = text.endsWith("\r");
    if (normal.includes("\r")) normal = normal.replace(/\r\n?/g, "\n");
    return normal;
  }

  #addToLine(text: string): void {
    if (text === "") return;
    if (this.#isLineTaken) {
      if (!this.#isLineDropped) this.#open?.appendText(text);
      this.#cutParagraph();
      return;
    }
    this.#line += text;
    if (this.#line.length <= longLine) return;
    let rest = this.#line.slice(longLine);
    this.#line = this.#line.slice(0, longLine);
    if (this.#line.trim() === "") {
      // Of endless white space only so much is kept as shows that the line is indented.
      rest = rest.trimStart();
      if (rest !== "") this.#line = this.#line.slice(0, 8);
      this.#addToLine(rest);
      return;
    }
    this.#takeLine();
    this.#isLineTaken = true;
    this.#addToLine(rest);
  }

  #endLine(): void {
    if (!this.#isLineTaken) this.#takeLine();
    this.#isLineTaken = false;
    this.#isLineDropped = false;
    if (this.#state.kind === "single" || (this.#state.kind === "none" && this.#open !== null)) {
      this.#close();
      this.#state = startState;
    }
  }

  #step(line: string): Step {
    return step(this.#state, line, (fence) => placeFence(this.#open?.source ?? "", this.#blanks, fence));
  }

  /** Puts the line into the block that it belongs to. */
  #takeLine(): void {
    const line = this.#line;
    this.#line = "";
    const next = this.#step(line);
    const fence = this.#state.fence;
    this.#state = next.state;
    switch (next.action) {
      case "blank":
        if (this.#open !== null) this.#blanks++;
        return;
      case "end":
        this.#close();
        return;
      case "open":
        this.#close();
        this.#open = this.#create(this.#nextKey++, next.state, line);
        if (this.#open.kind === "code") this.#isLineDropped = true;
        else this.#open.appendLine(line, 0);
        this.#cutParagraph();
        return;
      case "stash":
        this.#open?.appendStash(line, this.#blanks, fence?.indent ?? 0);
        this.#blanks = 0;
        return;
      case "append":
      case "item":
      case "head":
      case "close":
        this.#append(next, line);
    }
  }

  #append(next: Step, line: string): void {
    const open = this.#open;
    if (open === null) return;
    if (open.kind === "code") {
      if (next.action === "append") open.appendCode(line);
      else this.#isLineDropped = true;
      return;
    }
    const isLongParagraph = open.kind === "paragraph" && open.pieceLines >= limits.paragraphLines;
    if (next.action === "item") {
      this.#appendItem(open, line);
    } else if (isLongParagraph && next.action === "append" && !next.state.isUnsure && /^\p{L}/u.test(line)) {
      this.#close();
      this.#open = new OpenBlock(this.#nextKey++, "paragraph");
      this.#open.appendLine(line, 0);
    } else {
      open.appendLine(line, this.#blanks);
      if (next.action === "head") open.setHead();
      // What may be a list by now is not cut like a paragraph.
      if (open.kind === "paragraph" && next.state.kind !== "paragraph" && next.state.kind !== "none") open.kind = "uncut";
      // A formula that never ends is a paragraph.
      if (next.state.kind === "maths" && open.size > limits.formula) this.#state = { ...startState, kind: "paragraph", isUnsure: true };
    }
    this.#blanks = 0;
    this.#cutParagraph();
  }

  #appendItem(open: OpenBlock, line: string): void {
    const isLong = open.pieceLength >= limits.piece || open.pieceLines >= limits.pieceLines || (open.pieceLength === 0 && open.size > 0);
    if (open.size >= (open.kind === "table" ? limits.table : limits.list)) {
      const { head, start, items, kind } = open;
      this.#close();
      const next = new OpenBlock(this.#nextKey++, kind, { start: start === null ? null : start + items });
      if (head !== "") next.takeHead(head);
      next.appendLine(line, 0);
      this.#open = next;
      return;
    }
    open.items++;
    if (isLong) open.endPiece();
    open.appendLine(line, isLong ? 0 : this.#blanks);
  }

  #cutParagraph(): void {
    for (;;) {
      const open = this.#open;
      const rest = open?.overflow() ?? null;
      if (rest === null) return;
      this.#close();
      this.#open = new OpenBlock(this.#nextKey++, "paragraph");
      this.#open.appendLine(rest, 0);
      if (this.#state.kind === "paragraph") this.#state = { ...this.#state, first: null };
    }
  }

  #create(key: number, state: LineState, line: string): OpenBlock {
    if (state.kind === "fence") {
      const fence = fenceOf(indentOf(line));
      return new OpenBlock(key, "code", { info: fence?.info ?? "", indent: fence?.indent ?? 0 });
    }
    if (state.kind === "list") return new OpenBlock(key, "list", { start: listMarkerOf(indentOf(line))?.start ?? null });
    return new OpenBlock(key, kindOf(state));
  }

  #close(): void {
    if (this.#open !== null) this.#closed.push(this.#open.view(false));
    this.#open = null;
    this.#blanks = 0;
  }
}

function kindOf(state: LineState): OpenKind {
  if (state.kind === "paragraph" || state.kind === "note") return state.kind;
  return "uncut";
}
