import { limits } from "./limits.ts";

/** What a view shows of growing text: finished chunks, which never change, and the rest. */
export interface ChunksView {
  chunks: readonly string[];
  /** How many of the chunks belong to this view: the array grows on after it. */
  count: number;
  tail: string;
  length: number;
}

/** Text that is only appended to, cut into chunks so that what is added costs the same however much there is. */
export class Chunks {
  readonly #chunks: string[] = [];
  #tail = "";
  #length = 0;

  append(text: string): void {
    this.#tail += text;
    this.#length += text.length;
    while (this.#tail.length > limits.chunkEnd) {
      const newline = this.#tail.indexOf("\n", limits.chunk);
      const end = newline !== -1 && newline < limits.chunkEnd ? newline + 1 : beforePair(this.#tail, limits.chunkEnd);
      this.#chunks.push(this.#tail.slice(0, end));
      this.#tail = this.#tail.slice(end);
    }
  }

  get length(): number {
    return this.#length;
  }

  /** The present state, with more text after it that is not there to stay. */
  view(more = ""): ChunksView {
    return {
      chunks: this.#chunks,
      count: this.#chunks.length,
      tail: this.#tail + more,
      length: this.#length + more.length,
    };
  }
}

export function chunksOf(text: string): ChunksView {
  const chunks = new Chunks();
  chunks.append(text);
  return chunks.view();
}

export function textOf(view: ChunksView): string {
  return view.chunks.slice(0, view.count).join("") + view.tail;
}

/** The place to cut at, moved so that it does not part a surrogate pair. */
export function beforePair(text: string, at: number): number {
  const code = text.charCodeAt(at - 1);
  return code >= 0xd800 && code < 0xdc00 ? at - 1 : at;
}
