import { piecesOf, type Block } from "./block.ts";
import { limits } from "./limits.ts";

/** What parts of a text refer to that stands elsewhere in it, known once the text is complete. */
export interface References {
  /** Markdown of all link definitions, parsed again with each piece that may use them. */
  definitions: string;
  /** Footnote numbers by normalised label, in the order of their first marks. */
  notes: ReadonlyMap<string, number>;
}

export const noReferences: References = { definitions: "", notes: new Map() };

/** Labels match whatever their case and white space. */
export function normalLabel(label: string): string {
  return label.replace(/\s+/g, " ").trim().toLowerCase();
}

/** Collects definitions from blocks as they close. */
export class ReferenceCollector {
  #definitions = "";
  readonly #defined = new Map<string, string>();
  readonly #marked = new Set<string>();

  add(block: Block): void {
    if (block.kind === "code" || block.kind === "formula") return;
    for (const { source } of piecesOf(block)) {
      if (block.kind === "note") this.#addNote(source);
      else if (/^ {0,3}\[[^\]^][^\]]*\]:/.test(source)) this.#addDefinitions(source);
      if (source.includes("[^")) this.#addMarks(source);
    }
  }

  #addDefinitions(source: string): void {
    if (this.#definitions.length + source.length <= limits.definitions) this.#definitions += source + "\n\n";
  }

  #addNote(source: string): void {
    const label = /^ {0,3}\[\^([^\]\s]{1,99})\]:/.exec(source)?.[1];
    if (label !== undefined && this.#defined.size < limits.notes) this.#defined.set(normalLabel(label), label);
  }

  #addMarks(source: string): void {
    for (const [, label = ""] of source.matchAll(/\[\^([^\]\s]{1,99})\](?!:)/g)) {
      if (this.#marked.size >= limits.noteReferences) return;
      this.#marked.add(normalLabel(label));
    }
  }

  /** What was found; the same empty object where there is nothing. */
  references(): References {
    const notes = new Map<string, number>();
    let definitions = this.#definitions;
    for (const label of this.#marked) {
      const written = this.#defined.get(label);
      if (written === undefined) continue;
      notes.set(label, notes.size + 1);
      // The parser knows a footnote mark only beside its definition.
      definitions += `[^${written}]: -\n\n`;
    }
    return definitions === "" ? noReferences : { definitions, notes };
  }
}
