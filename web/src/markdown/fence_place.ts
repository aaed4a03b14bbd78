import type { Nodes } from "mdast";
import { isCostly } from "./cost.ts";
import { indentOf } from "./lines.ts";
import type { FencePlace } from "./line_state.ts";
import { parseMarkdown } from "./parse.ts";

/**
 * Asks the parser what a code fence belongs to where the lines before do not show it: text right after a list item may go on
 * with the item or not, and so may the fence after it.
 */
export function placeFence(source: string, blanks: number, line: string): FencePlace {
  if (isCostly(source)) return "none";
  const probe = "\uE002";
  const text = `${source}${"\n".repeat(blanks + 1)}${line}\n${" ".repeat(indentOf(line).columns)}${probe}`;
  let last: Nodes | undefined = parsed(text);
  for (let depth = 0; last !== undefined; depth++) {
    if (last.type === "code") return !last.value.endsWith(probe) ? "none" : depth === 1 ? "top" : "inner";
    last = "children" in last ? last.children.at(-1) : undefined;
  }
  return "none";
}

function parsed(text: string): Nodes | undefined {
  try {
    return parseMarkdown(text);
  } catch {
    return undefined;
  }
}
