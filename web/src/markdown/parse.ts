import type { Definition, Nodes, Root, RootContent } from "mdast";
import { fromMarkdown } from "mdast-util-from-markdown";
import { gfmFromMarkdown } from "mdast-util-gfm";
import { gfm } from "micromark-extension-gfm";
import { breakSyntax, breakTree } from "./break_syntax.ts";
import { isCostly } from "./cost.ts";
import { limits } from "./limits.ts";
import { mathsSyntax, mathsTree } from "./maths_syntax.ts";

const options = {
  // HTML is never rendered: without its constructs it is text like any other.
  extensions: [gfm({ singleTilde: false }), mathsSyntax, breakSyntax, { disable: { null: ["htmlFlow", "htmlText"] } }],
  mdastExtensions: [gfmFromMarkdown(), mathsTree, breakTree],
};

export function parseMarkdown(source: string): Root {
  return fromMarkdown(source, options);
}

/** Parses done, for tests that count work. */
export const work = { parses: 0, characters: 0 };

export interface ParsedPiece {
  nodes: readonly RootContent[];
  /** Link definitions by identifier, for the references among the nodes. */
  links: ReadonlyMap<string, Definition>;
}

/** The nodes of a piece, or null where it has to be shown plain. */
export function parsePiece(source: string, definitions: string): ParsedPiece | null {
  const needed = source.includes("[") ? definitions : "";
  const key = needed + source;
  const kept = recent.get(key);
  if (kept !== undefined) return kept;
  const parsed = isCostly(source) ? null : parseChecked(source, needed);
  keep(key, parsed);
  return parsed;
}

function parseChecked(source: string, definitions: string): ParsedPiece | null {
  work.parses++;
  work.characters += source.length + definitions.length;
  try {
    const text = source.replace(/\n+$/, "");
    const { children } = parseMarkdown(definitions === "" ? text : `${text}\n\n${definitions}`);
    const links = new Map<string, Definition>();
    for (const node of children) if (node.type === "definition" && !links.has(node.identifier)) links.set(node.identifier, node);
    const nodes = children.filter(({ position }) => (position?.start.offset ?? 0) < text.length);
    return strip(nodes) ? { nodes, links } : null;
  } catch {
    // Too deep for the stack: no text may take the page down.
    return null;
  }
}

/** Drops positions, which take most of the memory. Returns false where there are too many nodes or they nest too deep. */
function strip(nodes: readonly RootContent[]): boolean {
  let level: readonly Nodes[] = nodes;
  let count = 0;
  for (let depth = 0; level.length > 0; depth++) {
    count += level.length;
    if (depth > limits.depth || count > limits.nodes) return false;
    const next: Nodes[] = [];
    for (const node of level) {
      delete node.position;
      if ("children" in node) next.push(...node.children);
    }
    level = next;
  }
  return true;
}

/** Pieces parsed last, for a history that is scrolled back and forth. */
const recent = new Map<string, ParsedPiece | null>();
const recentLimit = 262_144;
let recentLength = 0;

function keep(key: string, parsed: ParsedPiece | null): void {
  recent.set(key, parsed);
  recentLength += key.length;
  for (const [oldest] of recent) {
    if (recentLength <= recentLimit) return;
    recent.delete(oldest);
    recentLength -= oldest.length;
  }
}
