import { describe, expect, test } from "vitest";
import { piecesOf, withStash, type Block } from "../../src/markdown/block.ts";
import { textOf } from "../../src/markdown/chunks.ts";
import { MarkdownDocument } from "../../src/markdown/document.ts";
import { parseMarkdown, work } from "../../src/markdown/parse.ts";
import { Splitter } from "../../src/markdown/splitter.ts";
import { lines, pick, seeded } from "./markdown_sample.ts";

function textFrom(random: () => number, parts: readonly string[], count: number): string {
  return Array.from({ length: count }, () => pick(random, parts)).join("");
}

/** All that a document shows, as plain data. */
function contentOf(shown: MarkdownDocument): unknown {
  const blocks = [...shown.pages.flatMap((page) => [...page.blocks, ...page.growing]), ...shown.notes];
  return { blocks: blocks.map(dataOf), references: [shown.references.definitions, ...shown.references.notes] };
}

function dataOf(block: Block): unknown {
  if (block.kind === "formula") return block;
  if (block.kind === "code") return { kind: block.kind, key: block.key, info: block.info, chunks: [...block.code.chunks.slice(0, block.code.count), block.code.tail] };
  const pieces = piecesOf(block).map(({ source, stash, plain }) => [source, stash.map(textOf), plain && textOf(plain)]);
  return { kind: block.kind, key: block.key, start: block.start, pieces };
}

function atOnce(text: string): MarkdownDocument {
  const shown = new MarkdownDocument();
  shown.update(text, false);
  return shown;
}

function inPieces(text: string, random: () => number, longest: number): MarkdownDocument {
  const shown = new MarkdownDocument();
  for (let at = 0; at < text.length; at += 1 + Math.floor(random() * longest)) shown.update(text.slice(0, at), true);
  shown.update(text, true);
  shown.update(text, false);
  return shown;
}

const inline = ["a", "word ", "`", "**", "*", "[", "](https://a.b)", "$", "$$", "\\(", "\\)", "\\[", "\\]", "\n", "\n\n", "\r\n", "\r", "<br>", "|", "é", "\u{1f600}", "\ud800", "\u202e", "    ", "\t", "[^1]", "[^1]: x", "# ", "- ", "```", "> "];

describe("streaming", () => {
  test("pieces give the same as the whole at once", () => {
    for (let seed = 1; seed <= 400; seed++) {
      const random = seeded(seed);
      const text = seed % 2 === 0 ? textFrom(random, lines.map((line) => `${line}\n`), 14) : textFrom(random, inline, 60);
      expect(contentOf(inPieces(text, random, 9)), JSON.stringify(text)).toEqual(contentOf(atOnce(text)));
    }
  }, 60_000);

  test("also where limits cut the text", () => {
    const long: [string, number][] = [
      ["word and more ", 2000], ["x", 30_000], ["- item with words\n", 1500], ["| a | b |\n", 4000], ["1. one\n\n", 3000],
      ["> quote words\n", 900], [" ", 20_000], ["line of a paragraph\n", 900], ["- item\n  more of it\n  and more\n", 900], ["\u{1f600}", 9000],
    ];
    for (const [index, [part, count]] of long.entries()) {
      const random = seeded(index + 1);
      const head = part.startsWith("|") ? "| h | i |\n|---|---|\n" : part.startsWith(">") ? "> start\n" : "start\n\n";
      const text = head + part.repeat(count) + "\n\nend";
      expect(contentOf(inPieces(text, random, 3000)), part).toEqual(contentOf(atOnce(text)));
    }
  });

  test("a text that was not only appended to is shown anew", () => {
    const shown = new MarkdownDocument();
    shown.update("# One\n\ntext", true);
    shown.update("Another one", true);
    shown.update("Another one", false);
    expect(contentOf(shown)).toEqual(contentOf(atOnce("Another one")));
    shown.update("A third", false);
    expect(contentOf(shown)).toEqual(contentOf(atOnce("A third")));
  });
});

interface AnyNode {
  type: string;
  value?: string;
  children?: AnyNode[];
  [key: string]: unknown;
}

function plainNodes(nodes: readonly unknown[], stash: Parameters<typeof withStash>[1]): unknown[] {
  return (nodes as AnyNode[]).map(({ position: _, ...node }) => {
    if (node.type === "code") return { type: "code", info: [node["lang"], node["meta"]].filter(Boolean).join(" "), value: withStash(node.value ?? "", stash, textOf).trimEnd() };
    return {
      ...node,
      ...(node.value === undefined ? {} : { value: withStash(node.value, stash, textOf) }),
      ...(node.children === undefined ? {} : { children: plainNodes(node.children, stash) }),
    };
  });
}

function nodesOf(block: Block): unknown[] {
  if (block.kind === "code") return [{ type: "code", info: block.info, value: textOf(block.code).trimEnd() }];
  if (block.kind === "formula") return [];
  return piecesOf(block).flatMap(({ source, stash }) => plainNodes(parseMarkdown(source).children, stash));
}

test("blocks parsed one by one give what the parser makes of the whole", () => {
  // After indented code the parser takes an item that does not begin with 1, or is empty, for text, against CommonMark.
  const isOdd = (text: string): boolean => /^(?: {4,}|\t).*\n\n*(?:\d+[.)]|-$)/m.test(text);
  // Footnotes refer to other blocks.
  const own = lines.filter((line) => !line.includes("[^"));
  let compared = 0;
  for (let seed = 1; seed <= 3000; seed++) {
    const random = seeded(seed);
    const text = textFrom(random, own.map((line) => `${line}\n`), 3 + Math.floor(random() * 8));
    if (isOdd(text)) continue;
    compared++;
    const splitter = new Splitter();
    splitter.feed(text);
    splitter.end();
    expect(splitter.take().flatMap(nodesOf), JSON.stringify(text)).toEqual(plainNodes(parseMarkdown(text).children, []));
  }
  expect(compared).toBeGreaterThan(2000);
}, 60_000);

describe("work", () => {
  /** Characters parsed while the text comes in pieces and is rendered each time. */
  async function parsedFor(text: string): Promise<number> {
    const { prepareBlock } = await import("../../src/markdown/block_view.tsx");
    const shown = new MarkdownDocument();
    const before = work.characters;
    for (let at = 0; at <= text.length; at += 500) {
      shown.update(text.slice(0, at), true);
      for (const page of shown.pages.slice(-2)) for (const block of [...page.blocks.slice(-2), ...page.growing]) prepareBlock(block, shown.references);
    }
    return work.characters - before;
  }
  const numbered = (make: (n: number) => string, count: number): string => Array.from({ length: count }, (_, n) => make(n)).join("");
  const cases: [string, (n: number) => string, number][] = [
    ["paragraphs", (n) => `Paragraph ${n} with some *words* in it.\n\n`, 300],
    ["one paragraph", (n) => `word${n} and `, 1200],
    ["a list", (n) => `- item ${n} of the list\n`, 500],
    ["a table", (n) => `${n === 0 ? "| a | b |\n|---|---|\n" : ""}| cell ${n} | other |\n`, 500],
    ["code in a list", (n) => `${n === 0 ? "- item\n  ```\n" : ""}  line ${n} of code\n`, 3000],
  ];
  for (const [name, make, count] of cases) {
    test(`twice the text takes twice the work: ${name}`, async () => {
      const once = await parsedFor(numbered(make, count));
      const twice = await parsedFor(`\n\n${numbered(make, 2 * count)}`);
      expect(twice).toBeLessThan(2.6 * once + 20_000);
    }, 60_000);
  }

  test("code is not parsed at all", async () => {
    expect(await parsedFor(`\`\`\`c\n${numbered((n) => `line ${n};\n`, 10_000)}`)).toBe(0);
  });
});
