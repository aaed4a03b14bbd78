import { beforeAll, describe, expect, test } from "vitest";
import { drawFormula } from "../../src/markdown/formula.ts";
import { safeUrl } from "../../src/markdown/link.tsx";
import { isCostly } from "../../src/markdown/cost.ts";
import { loadMaths } from "../../src/markdown/maths_view.tsx";
import { work } from "../../src/markdown/parse.ts";
import { htmlOf, pick, seeded } from "./markdown_sample.ts";

beforeAll(async () => {
  await loadMaths();
});

/** Elements and attributes that answers are made of. */
const elements = new Set(
  "div p h3 h4 h5 h6 hr br em strong del code pre span a sup small ul ol li input blockquote table thead tbody tr th td figure figcaption button section".split(" "),
);
const attributes = new Set(
  "class dir href title rel target role tabindex aria-label aria-pressed type checked disabled scope start value id colspan style data-goto data-place".split(" "),
);
const maths = /^(?:math|semantics|annotation|m[a-z]+)$/;

function checkHtml(html: string, text: string): void {
  expect(html).not.toMatch(/<(?:script|img|svg|iframe|object|embed|link|meta|base|form|video|audio|style)\b/i);
  for (const [, tag = "", rest = ""] of html.matchAll(/<([a-z][a-z0-9]*)((?:\s+[^\s=>/]+(?:="[^"]*")?)*)\s*\/?>/gi)) {
    expect(elements.has(tag) || maths.test(tag), `${tag} from ${text.slice(0, 80)}`).toBe(true);
    for (const [, name = "", value = ""] of rest.matchAll(/\s([^\s=>/]+)(?:="([^"]*)")?/g)) {
      if (!maths.test(tag)) expect(attributes.has(name), `${name} from ${text.slice(0, 80)}`).toBe(true);
      expect(name.startsWith("on")).toBe(false);
      if (name === "href") expect(value).toMatch(/^(?:https?:\/\/|mailto:|#)/);
      if (name === "style") expect(value).not.toMatch(/url|image/i);
    }
  }
}

describe("nothing runs or loads", () => {
  const attacks = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg onload=alert(1)>", "<iframe src=\"https://a.b\"></iframe>",
    "[a](javascript:alert(1))", "[a](JaVaScRiPt:alert(1))", "[a](java\nscript:alert(1))", "[a](&#106;avascript:alert(1))", "<javascript:alert(1)>",
    "[a](data:text/html,<script>alert(1)</script>)", "[a](vbscript:x)", "[a](file:///etc/passwd)", "[a](//a.b)", "[a](/page/)", "[a](#id)",
    "![a](https://a.b/c.png)", "![a](data:image/svg+xml,<svg/onload=alert(1)>)", "![a](javascript:alert(1))", "![a][b]\n\n[b]: javascript:alert(1)",
    "[a][b]\n\n[b]: javascript:alert(1)", "[a](https://a.b \"\\\" onmouseover=alert(1)\")", "`<img src=x>`", "```html\n<script>alert(1)</script>\n```",
    "```\"><script>alert(1)</script>\ncode\n```", "<a href=\"javascript:alert(1)\">x</a>", "<!-- <script> -->", "<style>*{display:none}</style>",
    "$\\text{<script>alert(1)</script>}$", "$\\href{javascript:alert(1)}{x}$", "$\\url{javascript:alert(1)}$", "| <script> |\n|---|\n| <img src=x onerror=y> |",
    "[^1]\n\n[^1]: <script>alert(1)</script>", "[a](https://a.b/\"onclick=\"alert(1))", "<https://a.b/\"onclick=\"alert(1)>",
  ];
  for (const attack of attacks) {
    test(JSON.stringify(attack), () => {
      checkHtml(htmlOf(attack), attack);
      checkHtml(htmlOf(attack, true), attack);
    });
  }

  test("texts put together at random", () => {
    const parts = [...attacks, "\n", "\n\n", "> ", "- ", "**", "`", "[", "](", ")", "|", "<", ">", "\"", "$", "    "];
    for (let seed = 1; seed <= 300; seed++) {
      const random = seeded(seed);
      const text = Array.from({ length: 8 }, () => pick(random, parts)).join("");
      checkHtml(htmlOf(text), text);
    }
  });
});

describe("links", () => {
  test("lead to the web and to mail only", () => {
    for (const url of ["https://a.b/", "http://a.b:8080/x?y#z", "mailto:a@b.c"]) expect(safeUrl(url)?.href).toBe(url);
    for (const url of ["javascript:x", " javascript:x", "data:,x", "blob:https://a.b/x", "ftp://a.b", "//a.b", "a.b", "", "https://", `https://a.b/${"x".repeat(3000)}`]) {
      expect(safeUrl(url), url).toBeNull();
    }
  });

  test("say where they lead", () => {
    expect(htmlOf("[paypal.com](https://evil.example/)")).toContain('title="evil.example"');
    expect(htmlOf("[paypal.com](https://evil.example/)")).toContain('<span class="md-host"> (evil.example)</span>');
    expect(htmlOf("https://www.example.com/a and [example.com](https://www.example.com)")).not.toContain("md-host");
    expect(htmlOf("[x](https://аpple.com)")).toContain('title="xn--pple-43d.com"');
    expect(htmlOf("[a](https://a.b)")).toContain('rel="noopener noreferrer nofollow" target="_blank"');
  });

  test("pictures are boxes", () => {
    expect(htmlOf("![A cat](https://a.b/c.png)")).toMatch(/<a class="md-picture" href="https:\/\/a\.b\/c\.png"[^>]*>Picture: A cat — a\.b<\/a>/);
    expect(htmlOf("![A cat](data:image/png;base64,AAAA)")).toMatch(/<span class="md-picture"[^>]*>Picture: A cat<\/span>/);
  });
});

test("characters that turn text around are shown", () => {
  expect(htmlOf("a\u202egpj.exe")).toMatch(/a<span class="md-hidden" title="[^"]+">U\+202E<\/span>gpj\.exe/);
  expect(htmlOf("```\nif (a\u2066) {}\n```")).toContain("U+2066");
});

describe("bombs", () => {
  const rows = (cells: number): string => `${"|a".repeat(cells)}|\n${"|-".repeat(cells)}|\n${"|b".repeat(cells)}|`;
  const nested = (depth: number): string => Array.from({ length: depth }, (_, n) => `${"  ".repeat(n)}- a`).join("\n");
  const bombs: [string, string][] = [
    ["quotations", ">".repeat(100_000)], ["quotations with spaces", "> ".repeat(100_000)], ["brackets", "[".repeat(100_000)],
    ["closed brackets", `${"[".repeat(50_000)}${"]".repeat(50_000)}`], ["stars", "*".repeat(100_000)], ["stars and words", "*a ".repeat(100_000)],
    ["mixed emphasis", "*a_ ".repeat(100_000)], ["one line", "x".repeat(3_000_000)], ["one line of words", "word ".repeat(400_000)],
    ["list marks in a line", "- ".repeat(100_000)], ["numbers in a line", "1. ".repeat(100_000)], ["nested lists", nested(600)],
    ["columns", rows(10_000)], ["pictures", "![".repeat(50_000)], ["links", "[a](b".repeat(50_000)], ["backticks", "`a``b```c".repeat(20_000)],
    ["dollars", "$a ".repeat(100_000)], ["display formulas", "$$a\n".repeat(50_000)], ["parentheses", "\\(a ".repeat(50_000)],
    ["definitions", "[a]: b\n".repeat(30_000)], ["notes", "[^a]: b\n".repeat(30_000)], ["marks", "[^a] ".repeat(50_000)],
    ["html", "<a ".repeat(50_000)], ["comments", "<!--".repeat(50_000)], ["entities", "&amp;".repeat(50_000)], ["addresses", "www.a_".repeat(50_000)],
    ["mail", "a@b.".repeat(50_000)], ["headings", "# a\n".repeat(5000)], ["underlines", "a\n=\n".repeat(10_000)], ["lone surrogates", "\ud800".repeat(50_000)],
    ["zero width", "\u200b\u200d".repeat(50_000)], ["overrides", "\u202e\u202d".repeat(3000)], ["spaces", " ".repeat(1_000_000)],
    ["returns", "\r".repeat(100_000)], ["nulls", "\0".repeat(50_000)], ["fence in fence", "```\n~~~\n".repeat(2000)], ["quoted lists", "> - ".repeat(50_000)],
    ["backslashes", "\\".repeat(100_000)], ["code in a list", `- \`\`\`\n${"  code\n".repeat(50_000)}`], ["breaks", "<br>".repeat(30_000)],
  ];
  for (const [name, bomb] of bombs) {
    test(name, () => {
      const before = { ...work };
      const html = htmlOf(bomb);
      // Nothing larger than a piece is ever parsed, and nothing is parsed twice.
      const parses = work.parses - before.parses;
      if (parses > 0) expect((work.characters - before.characters) / parses).toBeLessThan(8192 + 4096);
      expect(work.characters - before.characters).toBeLessThan(3 * bomb.length + 10_000);
      if (bomb.length < 200_000) checkHtml(html, bomb);
    }, 30_000);
  }

  test("what costs too much is shown plain, with a note", () => {
    const html = htmlOf("> ".repeat(500));
    expect(html).toContain("Shown as plain text");
    expect(html).toContain("> > > >");
    expect(isCostly("> ".repeat(500))).toBe(true);
    expect(isCostly("A *usual* paragraph with `code`, [links](https://a.b) and **more**. ".repeat(60))).toBe(false);
  });

  test("formulas that grow without end are not drawn", () => {
    const sources = [
      "\\def\\a{\\a\\a}\\a", "\\def\\a#1{\\a{#1#1}}\\a{x}", "\\newcommand{\\a}{\\b\\b}\\newcommand{\\b}{\\a\\a}\\a",
      `${"{".repeat(2000)}x${"}".repeat(2000)}`, "\\sqrt{".repeat(500) + "x" + "}".repeat(500), "x^".repeat(1000), "\\frac{".repeat(400), "x".repeat(5000),
      "\\def\\a{xxxxxxxxxx}\\def\\b{\\a\\a\\a\\a\\a\\a\\a\\a\\a\\a}\\def\\c{\\b\\b\\b\\b\\b\\b\\b\\b\\b\\b}\\def\\d{\\c\\c\\c\\c\\c\\c\\c\\c\\c\\c}\\d\\d\\d\\d\\d\\d",
      "\\rule{100000em}{100000em}", "\\begin{matrix}" + "a&".repeat(1500) + "\\end{matrix}",
    ];
    for (const source of sources) {
      const formula = drawFormula(source, true);
      if ("problem" in formula) expect(formula.problem.length).toBeGreaterThan(10);
    }
    expect(drawFormula("\\def\\a{\\a\\a}\\a", false)).toHaveProperty("problem");
  });
});
