import type { RootContent } from "mdast";
import type { VNode } from "preact";
import { piecesOf, withStash, type Block } from "./block.ts";
import { chunksOf, textOf } from "./chunks.ts";
import { renderNodes } from "./nodes.tsx";
import { parsePiece } from "./parse.ts";
import { PlainView } from "./plain_view.tsx";
import { normalLabel, type References } from "./references.ts";
import { markdownTexts as texts } from "./texts.ts";

interface Note {
  number: number | null;
  label: string;
  content: VNode;
}

/** The footnotes, at the end in the order of their marks. */
export function NotesView({ notes, references, id }: { notes: readonly Block[]; count: number; references: References; id: string }) {
  const all = notes.flatMap((block) => notesOf(block, references, id));
  all.sort((a, b) => (a.number ?? Infinity) - (b.number ?? Infinity));
  return (
    <section class="md-notes" role="doc-endnotes" aria-label={texts.notes.title}>
      <ol>
        {all.map(({ number, label, content }) => (
          <li
            key={label}
            id={number === null ? undefined : `${id}-note-${number}`}
            class={number === null ? "md-bare" : undefined}
            value={number ?? undefined}
            data-place={number === null ? undefined : `note-${number}`}
            tabIndex={-1}
            dir="auto"
          >
            {content}
            {number !== null && (
              <a href="#" role="doc-backlink" aria-label={texts.notes.back(number)} data-goto={`mark-${number}`}>
                ↩
              </a>
            )}
          </li>
        ))}
      </ol>
    </section>
  );
}

function notesOf(block: Block, references: References, id: string): Note[] {
  if (block.kind === "code" || block.kind === "formula") return [];
  return piecesOf(block).flatMap((piece): Note[] => {
    const parsed = piece.plain === null ? parsePiece(piece.source, references.definitions) : null;
    if (parsed === null) {
      const text = piece.plain ?? chunksOf(withStash(piece.source, piece.stash, textOf));
      return [{ number: null, label: `plain-${block.key}`, content: <PlainView text={text} /> }];
    }
    const context = { stash: piece.stash, links: parsed.links, notes: references.notes, id, isOpen: false, isNested: true };
    return parsed.nodes.map((node: RootContent, index): Note => {
      if (node.type !== "footnoteDefinition") {
        return { number: null, label: `${block.key}-${index}`, content: <>{renderNodes([node], context)}</> };
      }
      const label = node.label ?? node.identifier;
      return {
        number: references.notes.get(normalLabel(label)) ?? null,
        label: `${label}-${block.key}`,
        content: <>{renderNodes(node.children, context)}</>,
      };
    });
  });
}
