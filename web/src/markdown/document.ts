import type { Block } from "./block.ts";
import { noReferences, ReferenceCollector, type References } from "./references.ts";
import { Splitter } from "./splitter.ts";

/** A run of blocks that is shown, put off and skipped as a whole. */
export class Page {
  readonly blocks: Block[] = [];
  /** Blocks that still grow: at the end of the last page only. */
  growing: readonly Block[] = [];
  version = 0;
  size = 0;
  lines = 0;

  add(block: Block): void {
    this.blocks.push(block);
    this.size += block.size;
    this.lines += block.lines;
  }

  get isFull(): boolean {
    return this.size >= pageSize || this.blocks.length >= pageBlocks;
  }
}

const pageSize = 4000;
const pageBlocks = 16;

/** A text in Markdown that may still grow, as pages of blocks. */
export class MarkdownDocument {
  readonly pages: Page[] = [];
  readonly notes: Block[] = [];
  references: References = noReferences;
  /** Counts up with each change. */
  version = 0;
  isComplete = false;
  #length = 0;
  /** The text's last characters, to notice where it was not only appended to. */
  #end = "";
  #splitter = new Splitter();
  #collector = new ReferenceCollector();

  get length(): number {
    return this.#length;
  }

  /** Takes the text as it is now. */
  update(text: string, isLive: boolean): void {
    const isSame = text.length === this.#length && text.endsWith(this.#end);
    if (isSame && this.isComplete === !isLive) return;
    if (this.isComplete || text.length < this.#length || !text.startsWith(this.#end, this.#length - this.#end.length)) this.#clear();
    this.version++;
    this.#feed(text);
    if (!isLive) this.#splitter.end();
    for (const block of this.#splitter.take()) this.#add(block);
    if (isLive) {
      this.#setGrowing(this.#splitter.growing());
    } else {
      this.#complete();
    }
  }

  #feed(text: string): void {
    const more = text.slice(this.#length);
    this.#length = text.length;
    this.#end = own(text.slice(-32));
    this.#splitter.feed(own(more));
  }

  #add(block: Block): void {
    this.#collector.add(block);
    if (block.kind === "note") {
      this.notes.push(block);
      return;
    }
    const page = this.#lastPage();
    page.add(block);
    page.growing = [];
    page.version = this.version;
  }

  #lastPage(): Page {
    const last = this.pages.at(-1);
    if (last !== undefined && !last.isFull) return last;
    const page = new Page();
    this.pages.push(page);
    if (last !== undefined && last.growing.length > 0) {
      last.growing = [];
      last.version = this.version;
    }
    return page;
  }

  #setGrowing(blocks: readonly Block[]): void {
    const page = this.#lastPage();
    page.growing = blocks;
    page.version = this.version;
  }

  #complete(): void {
    const last = this.pages.at(-1);
    if (last !== undefined && last.growing.length > 0) {
      last.growing = [];
      last.version = this.version;
    }
    this.references = this.#collector.references();
    this.isComplete = true;
  }

  #clear(): void {
    this.pages.length = 0;
    this.notes.length = 0;
    this.references = noReferences;
    this.isComplete = false;
    this.#length = 0;
    this.#end = "";
    this.#splitter = new Splitter();
    this.#collector = new ReferenceCollector();
  }
}

/** A copy that does not keep the string alive that it is a part of. */
function own(text: string): string {
  return ` ${text}`.slice(1);
}
