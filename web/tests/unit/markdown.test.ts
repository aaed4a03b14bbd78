import { beforeAll, describe, expect, test } from "vitest";
import { loadMaths } from "../../src/markdown/maths_view.tsx";
import { languageIds, languageOf } from "../../src/markdown/languages.ts";
import { colour } from "../../src/markdown/colouring.ts";
import { closeInline } from "../../src/markdown/unfinished.ts";
import { htmlOf } from "./markdown_sample.ts";

beforeAll(async () => {
  await loadMaths();
});

describe("text", () => {
  test("headings begin below those of the page", () => {
    expect(htmlOf("# One\n\n## Two\n\n### Three\n\n#### Four")).toMatch(/<h3 [^>]*>One<\/h3>.*<h4 [^>]*>Two.*<h5 [^>]*>Three.*<h6 [^>]*>Four/s);
  });

  test("emphasis, code, strike-through and breaks", () => {
    const html = htmlOf("*a* **b** ~~c~~ `d`<br>e\\\nf");
    expect(html).toContain("<em>a</em> <strong>b</strong> <del>c</del> <code class=\"md-inline\">d</code><br/>e<br/>f");
  });

  test("lists keep their numbers, nesting and tasks", () => {
    expect(htmlOf("3. a\n4. b")).toContain('<ol dir="auto" start="3"><li>a</li><li>b</li></ol>');
    expect(htmlOf("- a\n  - b")).toContain('<ul dir="auto"><li>a<ul dir="auto"><li>b</li></ul></li></ul>');
    expect(htmlOf("- [x] a\n- [ ] b")).toMatch(/<input type="checkbox" checked disabled aria-label="Done"\/?>.*aria-label="Not done"/);
  });

  test("a long list and a long table stay one", () => {
    const items = Array.from({ length: 300 }, (_, n) => `${n + 1}. item ${n + 1}`).join("\n");
    const list = htmlOf(items);
    expect(list.match(/<ol/g)).toHaveLength(1);
    expect(list.match(/<li>/g)).toHaveLength(300);
    const rows = Array.from({ length: 300 }, (_, n) => `| ${n} | b |`).join("\n");
    const table = htmlOf(`| h | i |\n|---|--:|\n${rows}`);
    expect(table.match(/<table/g)).toHaveLength(1);
    expect(table.match(/<td>/g)).toHaveLength(300);
    expect(table.match(/<td class="md-end">/g)).toHaveLength(300);
  });

  test("tables have scopes and a region that scrolls", () => {
    const html = htmlOf("| a | b |\n|:-:|---|\n| 1 | 2 |");
    expect(html).toContain('role="group" tabindex="0" aria-label="Table"');
    expect(html).toContain('<th scope="col" class="md-center">a</th>');
  });

  test("links may be defined at the end", () => {
    const text = `See [one][a].\n\n${"A paragraph. ".repeat(900)}\n\n[a]: https://example.com/one`;
    expect(htmlOf(text)).toContain('<a href="https://example.com/one"');
    expect(htmlOf(text, true)).toContain("[one][a]");
  });

  test("footnotes stand at the end, with ways back", () => {
    const html = htmlOf("One[^b] two[^a].\n\n[^a]: Note *a*.\n[^b]: Note b.\n\nAfter.");
    expect(html).toMatch(/data-goto="note-1" data-place="mark-1">1<\/a><\/sup> two/);
    expect(html).toMatch(/After\..*<section class="md-notes".*value="1".*Note b.*data-goto="mark-1".*value="2".*Note <em>a/s);
  });

  test("a mark without a note stays text", () => {
    expect(htmlOf("One[^x].")).toContain("One[^x].");
  });

  test("code within list items comes from where it is kept", () => {
    const html = htmlOf("1. a\n   ```py\n   x = 1\n\n     y = 2\n   ```\n2. b");
    expect(html).toContain("x = 1\n\n  y = 2");
    expect(html).not.toContain("\uE000");
    expect(html).toMatch(/<\/figure><\/li><li>b<\/li><\/ol>/);
  });

  test("right-to-left text decides the direction of its block", () => {
    expect(htmlOf("שלום\n\n- שלום\n\n> שלום")).toMatch(/<p dir="auto">.*<ul dir="auto"><li>.*<blockquote dir="auto"><p>/);
  });
});

describe("code", () => {
  test("names its language, whatever it is called", () => {
    const names = ["c++", "sh", "ts", "py", "yml", "js title=\"a.js\"", "{.rust}", "", "text", "brainfuck"].map((info) => languageOf(info).name);
    expect(names).toEqual(["C++", "Shell", "TypeScript", "Python", "YAML", "JavaScript", "Rust", "", "", "brainfuck"]);
  });

  test("has a label and buttons", () => {
    const html = htmlOf("```py\nx = 1\n```");
    expect(html).toContain('aria-label="Code, Python"');
    expect(html).toMatch(/<button[^>]*aria-label="Copy the code"[^>]*>Copy<\/button>/);
    expect(html).toContain('aria-pressed="false"');
  });

  test("is coloured in every language that has a name, without a character lost", async () => {
    for (const id of languageIds) {
      const code = "# // a \"b\" 1 <c>\n";
      const { lengths, scopes } = await colour(id, code);
      expect(lengths.reduce((sum, length) => sum + length, 0), id).toBe(code.length);
      expect(scopes).toHaveLength(lengths.length);
    }
    expect((await colour("python", "def f(): pass")).scopes).toEqual(["keyword", "", "function", "", "keyword"]);
  });

  test("that has not ended shows no closing fence in parts", () => {
    expect(htmlOf("```\ncode\n``", true)).not.toContain("``");
    expect(htmlOf("```\ncode\n``", false)).toContain("``");
  });
});

describe("formulas", () => {
  test("in every way that models write them", () => {
    for (const text of ["$x^2$", "\\(x^2\\)", "$$x^2$$", "\\[x^2\\]", "$$\nx^2\n$$", "\\[\nx^2\n\\]", "- a\n  $$\n  x^2\n  $$", "> \\[\n> x^2\n> \\]"]) {
      expect(htmlOf(text), text).toMatch(/<math.*<msup>.*<annotation encoding="application\/x-tex">x\^2</s);
    }
  });

  test("lines within that look like lists or headings", () => {
    expect(htmlOf("\\[\n# a\n- b\n+ c\n\\]")).not.toMatch(/<ul|<h3/);
  });

  test("prices, shell variables and code are none", () => {
    for (const text of ["$5 and $6", "It costs $5, not $10.", "US$5 to US$6", "`$x$` and `\\(y\\)`", "\\$x\\$", "$ x $", "a $ b"]) {
      expect(htmlOf(text), text).not.toContain("<math");
    }
  });

  test("an error shows the source and says why", () => {
    expect(htmlOf("$\\frac{1$")).toMatch(/<code class="md-inline" dir="ltr" title="This formula cannot be drawn: [^"]+">\\frac\{1<\/code>/);
  });

  test("have no style attributes but those that Preact sets, no links and no classes of the page", () => {
    const html = htmlOf("$\\href{javascript:alert(1)}{x} \\includegraphics{https://a.b/c.png} \\class{markdown}{y} \\style{background:url(//a.b)}{z}$");
    expect(html).not.toMatch(/ href=|<img|style="[^"]*url/);
  });

  test("while they come, their source is shown as it is", () => {
    expect(htmlOf("$$\n\\begin{cases} a *b* \\\\", true)).toContain("\\begin{cases} a *b* \\\\</code>");
  });
});

describe("what has not ended yet", () => {
  const cases: [string, string][] = [
    ["a **bo", "a **bo**"], ["a **bold*", "a **bold**"], ["a **", "a"], ["a `co", "a `co`"], ["a `", "a "],
    ["see [the page](https://exa", "see the page"], ["a ![pic](https://", "a "], ["**a** b", "**a** b"], ["`**` b", "`**` b"],
    ["2 ** 3", "2 ** 3"], ["one **two\n\nthree", "one **two\n\nthree"],
  ];
  for (const [text, closed] of cases) test(JSON.stringify(text), () => expect(closeInline(text)).toBe(closed));
});
