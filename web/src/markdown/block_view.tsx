import type { List, Table } from "mdast";
import type { ComponentChildren, VNode } from "preact";
import { useMemo } from "preact/hooks";
import { piecesOf, withStash, type Block, type Piece, type TextBlock } from "./block.ts";
import { chunksOf, textOf } from "./chunks.ts";
import { CodeView } from "./code_view.tsx";
import type { RenderContext } from "./context.ts";
import { useKept } from "./kept.ts";
import { FormulaSource } from "./maths_view.tsx";
import { isLooseList, renderHead, renderItem, renderList, renderNodes, renderRows, TableFrame } from "./nodes.tsx";
import { parsePiece, type ParsedPiece } from "./parse.ts";
import { PlainView } from "./plain_view.tsx";
import type { Steps } from "./prepare.ts";
import type { References } from "./references.ts";
import { closeInline } from "./unfinished.ts";

interface BlockProps {
  block: Block;
  references: References;
  id: string;
}

export function BlockView({ block, references, id }: BlockProps) {
  if (block.kind === "code") return <CodeView code={block.code} info={block.info} isOpen={block.isOpen} />;
  if (block.kind === "formula") return <FormulaSource source={block.source} title={undefined} isDisplay />;
  if (block.kind === "list") return <ListView block={closed(block)} references={references} id={id} />;
  if (block.kind === "table") return <TableView block={block} references={references} id={id} />;
  return <PiecesView pieces={piecesOf(closed(block))} isOpen={block.isOpen} references={references} id={id} />;
}

/** The block with the marks that its end leaves open closed. */
function closed(block: TextBlock): TextBlock {
  const { last } = block;
  if (!block.isOpen || last === null || last.plain !== null) return block;
  return { ...block, last: { ...last, source: closeInline(last.source) } };
}

/** Parses what the block needs, piece by piece, to be found again when it is rendered. */
export function* prepareBlock(block: Block, references: References): Steps {
  if (block.kind === "code" || block.kind === "formula") return;
  for (const piece of piecesOf(block)) {
    parsed(piece, references);
    yield;
  }
}

function parsed(piece: Piece, references: References): ParsedPiece | null {
  return piece.plain === null ? parsePiece(piece.source, references.definitions) : null;
}

function contextOf(piece: Piece, parsed: ParsedPiece, references: References, id: string, isOpen: boolean): RenderContext {
  return { stash: piece.stash, links: parsed.links, notes: references.notes, id, isOpen, isNested: false };
}

function plainText(piece: Piece) {
  return piece.plain ?? chunksOf(withStash(piece.source, piece.stash, textOf));
}

interface PiecesProps {
  pieces: readonly Piece[];
  isOpen: boolean;
  references: References;
  id: string;
}

function PiecesView({ pieces, isOpen, references, id }: PiecesProps) {
  return (
    <>
      {pieces.map((piece) => {
        const found = parsed(piece, references);
        if (found === null) return <PlainView text={plainText(piece)} />;
        return <>{renderNodes(found.nodes, contextOf(piece, found, references, id, isOpen))}</>;
      })}
    </>
  );
}

interface TextProps {
  block: TextBlock;
  references: References;
  id: string;
}

function onlyList(found: ParsedPiece | null): List | null {
  const [node, ...others] = found?.nodes ?? [];
  return node?.type === "list" && others.length === 0 ? node : null;
}

/** A list whose items were parsed in several pieces. */
function ListView({ block, references, id }: TextProps) {
  const kept = useKept();
  if (block.count === 0 && block.last !== null && onlyList(parsed(block.last, references)) === null) {
    return <PiecesView pieces={[block.last]} isOpen={block.isOpen} references={references} id={id} />;
  }
  const items = (piece: Piece, index: number, isOpen: boolean): VNode => (
    <ItemsView key={index} piece={piece} isOpen={isOpen} references={references} id={id} />
  );
  const children: ComponentChildren[] = [];
  for (const [index, piece] of block.pieces.entries()) {
    if (index === block.count) break;
    children.push(kept(piece, references, () => items(piece, index, false)));
  }
  if (block.last !== null) children.push(items(block.last, block.count, block.isOpen));
  return renderList(block.start, children);
}

interface PieceProps {
  piece: Piece;
  isOpen: boolean;
  references: References;
  id: string;
}

function ItemsView({ piece, isOpen, references, id }: PieceProps) {
  const found = parsed(piece, references);
  if (found === null) {
    return (
      <li class="md-bare">
        <PlainView text={plainText(piece)} />
      </li>
    );
  }
  const context = contextOf(piece, found, references, id, isOpen);
  return (
    <>
      {found.nodes.map((node) => {
        if (node.type !== "list") return <li class="md-bare">{renderNodes([node], context)}</li>;
        const isLoose = isLooseList(node);
        return <>{node.children.map((item) => renderItem(item, isLoose, context))}</>;
      })}
    </>
  );
}

/** A table whose rows were parsed in several pieces, each with the head before it. */
function TableView({ block, references, id }: TextProps) {
  const kept = useKept();
  const first = block.pieces[0] !== undefined && block.count > 0 ? block.pieces[0] : block.last;
  const found = useMemo(() => (first === null ? null : parsed(first, references)), [first?.source, references]);
  const [table] = found?.nodes ?? [];
  if (first === null || found === null || table?.type !== "table") {
    return <PiecesView pieces={piecesOf(block)} isOpen={block.isOpen} references={references} id={id} />;
  }
  const rows = (piece: Piece, index: number): VNode => <RowsView key={index} piece={piece} references={references} id={id} />;
  const children: ComponentChildren[] = [];
  for (const [index, piece] of block.pieces.entries()) {
    if (index === block.count) break;
    children.push(kept(piece, references, () => rows(piece, index)));
  }
  if (block.last !== null) children.push(rows(block.last, block.count));
  return (
    <>
      <TableFrame head={renderHead(table, contextOf(first, found, references, id, false))}>{children}</TableFrame>
      {block.last !== null && <AfterTable piece={block.last} isOpen={block.isOpen} references={references} id={id} />}
    </>
  );
}

type RowsProps = Omit<PieceProps, "isOpen">;

function RowsView({ piece, references, id }: RowsProps) {
  const found = parsed(piece, references);
  const table = found?.nodes.find((node): node is Table => node.type === "table");
  if (found === null || table === undefined) {
    return (
      <tbody>
        <tr>
          <td colSpan={100}>
            <PlainView text={plainText(piece)} />
          </td>
        </tr>
      </tbody>
    );
  }
  return <tbody>{renderRows(table, table.children.slice(1), contextOf(piece, found, references, id, false))}</tbody>;
}

/** What follows the table without a line between. */
function AfterTable({ piece, isOpen, references, id }: PieceProps) {
  const found = parsed(piece, references);
  const rest = found?.nodes.filter(({ type }) => type !== "table") ?? [];
  if (found === null || rest.length === 0) return null;
  return <>{renderNodes(rest, contextOf(piece, found, references, id, isOpen))}</>;
}
