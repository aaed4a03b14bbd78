import type { Definition } from "mdast";
import type { ChunksView } from "./chunks.ts";

/** What nodes are rendered with. */
export interface RenderContext {
  stash: readonly ChunksView[];
  links: ReadonlyMap<string, Definition>;
  notes: ReadonlyMap<string, number>;
  /** Begins all element ids of this text. */
  id: string;
  /** Whether the text may still grow here. */
  isOpen: boolean;
  /** Whether it is within an element whose direction its first letters decide: elements with their own would not count. */
  isNested: boolean;
}
