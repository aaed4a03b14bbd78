import { placeholder, type Block, type Piece, type TextBlock } from "./block.ts";
import { Chunks, beforePair } from "./chunks.ts";
import { limits } from "./limits.ts";
import { removeIndent } from "./lines.ts";

interface StashedCode {
  text: Chunks;
  indent: number;
}

/** What a block is and how it may be cut. */
export type OpenKind = "paragraph" | "uncut" | "list" | "table" | "note" | "code";

/** The block that the last lines belong to. */
export class OpenBlock {
  readonly key: number;
  kind: OpenKind;
  /** The number of the first list item and how many began in this block. */
  readonly start: number | null;
  items = 1;
  /** A table's first two lines, with their line ends. */
  head = "";
  readonly info: string;
  readonly #indent: number;
  readonly #pieces: Piece[] = [];
  #size = 0;
  #lines = 0;
  #linesBefore = 0;
  /** The source of the growing piece. */
  #tail = "";
  #isLineOpen = false;
  #stash: StashedCode[] = [];
  #isStashing = false;
  #plain: Chunks | null = null;
  #code: Chunks | null = null;

  constructor(key: number, kind: OpenKind, options: { start?: number | null; info?: string; indent?: number } = {}) {
    this.key = key;
    this.kind = kind;
    this.start = options.start ?? null;
    this.info = options.info ?? "";
    this.#indent = options.indent ?? 0;
    if (kind === "code") this.#code = new Chunks();
  }

  get size(): number {
    return this.#size;
  }

  /** The length of the growing piece. */
  get pieceLength(): number {
    return this.#tail.length;
  }

  /** The Markdown of the growing piece. */
  get source(): string {
    return this.#tail;
  }

  get pieceLines(): number {
    return this.#lines - this.#linesBefore;
  }

  /** Begins a line; `appendText` may add to it until the next. */
  appendLine(line: string, blanks: number): void {
    this.#isStashing = false;
    this.#add((this.#isLineOpen ? "\n" : "") + "\n".repeat(blanks) + line);
    this.#isLineOpen = true;
    this.#lines += blanks + 1;
  }

  /** Adds to the last line. */
  appendText(text: string): void {
    const code = this.#isStashing ? this.#stash.at(-1)?.text : undefined;
    if (code === undefined) {
      this.#add(text);
    } else {
      this.#size += text.length;
      code.append(text);
    }
  }

  /** A line of a code block. */
  appendCode(line: string): void {
    const text = (this.#isLineOpen ? "\n" : "") + removeIndent(line, this.#indent);
    this.#isLineOpen = true;
    this.#lines += 1;
    this.#add(text);
  }

  /** The code with a line that has not ended. */
  viewCode(line: string): Block {
    // What may be the start of the closing fence is not shown as code.
    if (/^ {0,3}(?:`+|~+)$/.test(line)) return this.view(true);
    return this.view(true, (this.#isLineOpen ? "\n" : "") + removeIndent(line, this.#indent));
  }

  /** A line of code within a list item, whose fence has the given indent. */
  appendStash(line: string, blanks: number, indent: number): void {
    if (this.#plain !== null) {
      this.appendLine(line, blanks);
      return;
    }
    const last = this.#stash.at(-1);
    const text = removeIndent(line, indent);
    this.#lines += blanks + 1;
    this.#size += text.length + 1;
    if (this.#isStashing && last !== undefined) {
      last.text.append("\n".repeat(blanks + 1) + text);
      return;
    }
    const stashed = { text: new Chunks(), indent };
    stashed.text.append("\n".repeat(blanks) + text);
    this.#tail += `\n${" ".repeat(indent)}${placeholder(this.#stash.length)}`;
    this.#stash.push(stashed);
    this.#isStashing = true;
  }

  #add(text: string): void {
    this.#size += text.length;
    if (this.#code !== null) {
      this.#code.append(text);
    } else if (this.#plain !== null) {
      this.#plain.append(text);
    } else {
      this.#tail += text;
      if (this.kind !== "paragraph" && this.#tail.length > limits.uncut) this.#showPlain();
    }
  }

  #showPlain(): void {
    this.#plain = new Chunks();
    const [first = "", ...rest] = this.#tail.split(/\uE000(\d{1,6})\uE001/);
    this.#plain.append(first);
    for (const [index, part] of rest.entries()) {
      const stashed = index % 2 === 0 ? this.#stash[Number(part)] : undefined;
      if (stashed === undefined) {
        this.#plain.append(part);
      } else {
        const { chunks, count, tail } = stashed.text.view();
        for (const chunk of chunks.slice(0, count)) this.#plain.append(chunk);
        this.#plain.append(tail);
      }
    }
    this.#tail = "";
    this.#stash = [];
    this.#isStashing = false;
  }

  /** Ends the growing piece: what follows is parsed by itself. */
  endPiece(): void {
    this.#pieces.push(this.#piece(""));
    this.#linesBefore = this.#lines;
    this.#tail = "";
    this.#stash = [];
    this.#isStashing = false;
    this.#plain = null;
    this.#isLineOpen = false;
  }

  #piece(more: string): Piece {
    const plain = this.#plain?.view(more) ?? null;
    return { source: this.#source(more), stash: this.#stash.map(({ text }) => text.view()), plain };
  }

  /** The growing piece's Markdown; a table's rows need the table's head. */
  #source(more: string): string {
    const text = this.#tail + (this.#plain === null ? more : "");
    return this.kind === "table" && this.head !== "" && this.#pieces.length > 0 ? this.head + text : text;
  }

  /**
   * Takes a paragraph's first part off where it has grown too long: up to a space before a letter, which cannot be read as
   * the start of another kind of block. What remains is the start of the next block.
   */
  overflow(): string | null {
    if (this.kind !== "paragraph" || this.#tail.length <= limits.paragraphEnd) return null;
    const window = this.#tail.slice(limits.paragraph, limits.paragraphEnd);
    const space = /\s(?=\p{L})/u.exec(window);
    const end = space === null ? beforePair(this.#tail, limits.paragraphEnd) : limits.paragraph + space.index + 1;
    const rest = this.#tail.slice(end);
    this.#tail = this.#tail.slice(0, end).trimEnd();
    this.#size = this.#tail.length;
    return rest;
  }

  /** The table's rows so far are its head. */
  setHead(): void {
    this.kind = "table";
    this.head = this.#tail + "\n";
  }

  /** Goes on with another table's head. */
  takeHead(head: string): void {
    this.head = head;
    this.#tail = head.slice(0, -1);
    this.#isLineOpen = true;
  }

  viewFormula(more: string): Block {
    return { key: this.key, isOpen: true, size: this.#size, lines: this.#lines, kind: "formula", source: this.#tail + more };
  }

  view(isOpen: boolean, more = ""): Block {
    const { key, start, info } = this;
    const size = this.#size;
    const lines = this.#lines;
    if (this.#code !== null) return { key, isOpen, size, lines, kind: "code", info, code: this.#code.view(more) };
    const kind: TextBlock["kind"] = this.kind === "list" || this.kind === "table" || this.kind === "note" ? this.kind : "text";
    return { key, isOpen, size, lines, kind, pieces: this.#pieces, count: this.#pieces.length, last: this.#piece(more), start };
  }
}
