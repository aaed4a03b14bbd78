import type { VNode } from "preact";
import { piecesOf, type Block } from "./block.ts";
import { BlockView, prepareBlock } from "./block_view.tsx";
import { textOf } from "./chunks.ts";
import type { Page } from "./document.ts";
import { useKept } from "./kept.ts";
import { type Steps, usePrepared } from "./prepare.ts";
import { noReferences, type References } from "./references.ts";

interface PageProps {
  page: Page;
  /** Changes with the page, which is the same object throughout. */
  version: number;
  references: References;
  id: string;
  /** Whether other pages stand around it, of which only those in view are laid out. */
  isOneOfMany: boolean;
}

export function PageView({ page, references, id, isOneOfMany }: PageProps) {
  const kept = useKept();
  const isReferring = references !== noReferences && page.blocks.some(mayRefer);
  const wanted = isReferring ? references : noReferences;
  const prepare = function* (): Steps {
    for (const block of page.blocks) yield* prepareBlock(block, wanted);
  };
  const { value, element } = usePrepared<References, HTMLDivElement>(wanted, prepare, page.growing.length > 0);
  return (
    <div
      ref={element}
      class={isOneOfMany ? "md-page md-page-apart" : "md-page"}
      style={isOneOfMany ? { containIntrinsicBlockSize: `auto ${estimatedHeight(page)}px` } : undefined}
    >
      {value === undefined ? (
        <div class="md-pending">{page.blocks.map(sourceOf).join("\n\n")}</div>
      ) : (
        <>
          {page.blocks.map((block) => kept(block, value, () => blockVNode(block, value, id)))}
          {page.growing.map((block) => blockVNode(block, value, id))}
        </>
      )}
    </div>
  );
}

function blockVNode(block: Block, references: References, id: string): VNode {
  return <BlockView key={block.key} block={block} references={references} id={id} />;
}

function mayRefer(block: Block): boolean {
  return block.kind !== "code" && block.kind !== "formula" && piecesOf(block).some(({ source }) => source.includes("["));
}

function sourceOf(block: Block): string {
  if (block.kind === "code") return textOf(block.code);
  if (block.kind === "formula") return block.source;
  return piecesOf(block)
    .map(({ source, plain }) => (plain === null ? source : textOf(plain)))
    .join("\n");
}

function estimatedHeight(page: Page): number {
  return Math.round(26 * (page.lines + page.size / 90) + 14 * page.blocks.length) + 20;
}
