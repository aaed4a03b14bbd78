import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openBrowser, openPage } from "./browser.ts";
import { Served } from "./served.ts";
import { composer, putAnswer, say } from "./talk.ts";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let served: Served;
let browser: Browser;

beforeAll(async () => {
  [served, browser] = await Promise.all([Served.start(), openBrowser()]);
});
afterAll(async () => {
  await browser.close();
  await served.end();
});

interface Result {
  violations: { id: string; nodes: { html: string; failureSummary?: string }[] }[];
}

/** What axe finds wrong, a line each. */
async function violations(page: Page): Promise<string[]> {
  const result = (await page.evaluate("axe.run()")) as Result;
  return result.violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html.slice(0, 160)} ${node.failureSummary ?? ""}`));
}

const RICH = `# Heading

A **paragraph** with \`code\`, [a link](https://llama.example/) and $x^2$.

| a | b |
|---|---|
| 1 | 2 |

\`\`\`rust
fn main() { println!("{}", 1); }
\`\`\`

- [x] done
- [ ] not

> quoted

![picture](https://llama.example/x.png)
`;

test.each([
  ["light", 1280, 800],
  ["dark", 1280, 800],
  ["light", 390, 844],
  ["dark", 390, 844],
] as const)("nothing stands in anybody's way: %s, %d wide", async (colorScheme, width, height) => {
  // The tool comes from outside; the page's own policy is tried by the other flows.
  const options = { colorScheme, viewport: { width, height }, bypassCSP: true, reducedMotion: "reduce" } as const;
  const { page, context } = await openPage(browser, served.address, options);
  await page.addScriptTag({ content: AXE });
  expect(await violations(page)).toEqual([]);
  await page.getByRole("button", { name: "Token probabilities" }).click();
  await say(page, "Once upon a time");
  expect(await violations(page)).toEqual([]);
  await page.getByRole("button", { name: "Token probabilities" }).click();
  await putAnswer(page, RICH);
  await page.locator("math").first().waitFor();
  expect(await violations(page)).toEqual([]);
  for (const view of ["#server", "#infill"]) {
    await page.evaluate((view) => void (location.hash = view), view);
    await page.getByRole("heading", { name: /Server|Infill/ }).first().waitFor();
    expect(await violations(page)).toEqual([]);
  }
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  expect(overflow).toBeLessThanOrEqual(0);
  await context.close();
});

test("a chat by the keyboard alone", async () => {
  const { page, context, faults } = await openPage(browser, served.address);
  await composer(page).waitFor();
  // The field for messages has the focus already.
  await expect.poll(() => page.evaluate(() => document.activeElement?.getAttribute("aria-label"))).toBe("Message");
  await page.keyboard.type("Once upon a time");
  await page.keyboard.press("Enter");
  await page.getByText(/tokens\/s/).waitFor();
  await page.evaluate(() => (document.activeElement instanceof HTMLElement ? document.activeElement.blur() : undefined));
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keyboard shortcuts" }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  expect(faults).toEqual([]);
  await context.close();
});

test("right to left, the page is mirrored", async () => {
  const { page, context } = await openPage(browser, served.address);
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByLabel("Right to left").check({ force: true });
  await page.keyboard.press("Escape");
  expect(await page.evaluate(() => document.documentElement.dir)).toBe("rtl");
  const box = await page.getByRole("navigation", { name: "Conversations and views" }).boundingBox();
  expect(box?.x ?? 0).toBeGreaterThan(600);
  await context.close();
});
