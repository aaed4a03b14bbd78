import { readFile } from "node:fs/promises";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { openBrowser, openPage, type Watched } from "./browser.ts";
import { Served } from "./served.ts";
import { answered, articles, composer, importFile, lastAnswer, putAnswer, say } from "./talk.ts";

let served: Served;
let browser: Browser;
let watched: Watched;
let page: Page;

beforeAll(async () => {
  [served, browser] = await Promise.all([Served.start(), openBrowser()]);
});
afterAll(async () => {
  await browser.close();
  await served.end();
});
beforeEach(async () => {
  watched = await openPage(browser, served.address);
  page = watched.page;
});
afterEach(async () => {
  expect(watched.faults).toEqual([]);
  expect(watched.strangers).toEqual([]);
  await watched.context.close();
});

test("a message is answered, the answer goes on, and is made again beside the first", async () => {
  await say(page, "Once upon a time");
  const first = await lastAnswer(page);
  expect(first.length).toBeGreaterThan(40);
  const last = articles(page).last();
  await last.getByRole("button", { name: "Answer again" }).click();
  await page.getByText("2/2").waitFor();
  await answered(page);
  await page.getByRole("button", { name: "Previous version" }).click();
  await page.getByText("1/2").waitFor();
  expect(await lastAnswer(page)).toBe(first);
  await articles(page).last().getByRole("button", { name: "Continue" }).click();
  await answered(page);
  expect((await lastAnswer(page)).startsWith(first.trimEnd())).toBe(true);
});

test("an answer is stopped, and what was written stays", async () => {
  await composer(page).fill("Once upon a time");
  await page.keyboard.press("Enter");
  // The model is quick: it may be done before.
  const stop = page.getByRole("button", { name: "Stop", exact: true });
  await stop.click({ timeout: 2000 }).catch(() => undefined);
  await stop.waitFor({ state: "hidden" });
  await expect.poll(() => articles(page).count()).toBe(2);
  await composer(page).fill("and on");
  await page.keyboard.press("Enter");
  await answered(page);
  await expect.poll(() => articles(page).count()).toBe(4);
});

test("a message that is edited begins a branch, and both are kept", async () => {
  await say(page, "One day");
  const before = await lastAnswer(page);
  const question = articles(page).first();
  await question.getByRole("button", { name: "Edit", exact: true }).click();
  await page.getByRole("textbox", { name: "Edit the message" }).fill("One night");
  await page.getByRole("button", { name: "Send", exact: true }).first().click();
  await page.getByText("One night").first().waitFor();
  await answered(page);
  await page.getByRole("button", { name: "Previous version" }).first().click();
  await expect.poll(() => articles(page).first().innerText()).toContain("One day");
  expect(await lastAnswer(page)).toBe(before);
});

test("conversations last, are found, renamed, deleted and taken back", async () => {
  await say(page, "The quick brown llama");
  await page.getByRole("button", { name: "New chat" }).click();
  await say(page, "A small grey cat");
  await page.reload();
  await expect.poll(() => articles(page).first().innerText()).toContain("A small grey cat");
  const list = page.getByRole("navigation", { name: "Conversations and views" });
  await page.getByRole("searchbox").fill("brown llama");
  await list.getByText("quick").first().click();
  await expect.poll(() => articles(page).first().innerText()).toContain("The quick brown llama");
  await page.getByRole("searchbox").fill("");
  await page.getByRole("button", { name: "Actions for The quick brown llama" }).click();
  await page.getByRole("menuitem", { name: "Rename" }).click();
  await page.getByRole("textbox", { name: "Title" }).fill("Llamas");
  await page.keyboard.press("Enter");
  await list.getByRole("link", { name: "Llamas" }).waitFor();
  await page.getByRole("button", { name: "Actions for Llamas" }).click();
  await page.getByRole("menuitem", { name: "Delete" }).click();
  await list.getByRole("link", { name: "Llamas" }).waitFor({ state: "hidden" });
  await page.getByRole("button", { name: "Undo" }).click();
  await list.getByRole("link", { name: "Llamas" }).waitFor();
});

test("all conversations go into a file, and come back from it in another browser", async () => {
  await say(page, "To be kept");
  await putAnswer(page, "**Kept** well.");
  await page.getByRole("button", { name: "Settings" }).click();
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Export all" }).click(),
  ]);
  const file = await readFile(await download.path());
  const other = await openPage(browser, served.address);
  await importFile(other.page, "broken.json", file.subarray(0, file.length / 2));
  await other.page.getByText("The file is not JSON").waitFor();
  await importFile(other.page, "kept.json", file);
  await other.page.getByText("1 conversation was imported").waitFor();
  await other.page.keyboard.press("Escape");
  await other.page.getByRole("link", { name: "To be kept" }).click();
  await other.page.locator("strong", { hasText: "Kept" }).waitFor();
  expect(other.faults).toEqual([]);
  await other.context.close();
});

test("a token's alternatives are shown, and one begins a branch", async () => {
  await page.getByRole("button", { name: "Token probabilities" }).click();
  await say(page, "Once upon a time");
  const tokens = page.getByRole("group", { name: "Tokens of the answer and how probable each was" });
  const third = tokens.getByRole("button").nth(2);
  await third.click();
  const alternatives = page.getByRole("group", { name: "What could have stood here" });
  const other = alternatives.locator("button:not(:disabled)").first();
  const text = (await other.locator("code").innerText()).replaceAll("␣", " ");
  await other.click();
  await page.getByText("2/2").waitFor();
  await answered(page);
  const branch = await tokens.innerText();
  expect(branch).toContain(text.trim());
});

test("an answer keeps to a JSON schema of the preset", async () => {
  await page.getByRole("button", { name: "Preset: Default" }).click();
  await page.getByRole("menuitem", { name: "Edit presets…" }).click();
  await page.getByLabel("Answer format").fill('{"enum": ["# A heading with <b>HTML</b>"]}');
  await page.keyboard.press("Escape");
  await say(page, "Say it");
  expect(await lastAnswer(page)).toContain("<b>HTML</b>");
  expect(await articles(page).last().locator("b").count()).toBe(0);
});

test("two models answer side by side", async () => {
  await page.getByRole("button", { name: "Compare two models" }).click();
  // With the same model, whose answers are drawn anew.
  await page.getByRole("menuitem").first().click();
  await composer(page).fill("Once upon a time");
  await page.keyboard.press("Enter");
  const keep = page.getByRole("button", { name: "Go on with this one" });
  await expect.poll(() => keep.count(), { timeout: 60_000 }).toBe(2);
  await keep.first().click();
  await keep.first().waitFor({ state: "hidden" });
  await expect.poll(() => articles(page).count()).toBe(2);
});

test("the server's figures are seen while it works", async () => {
  await say(page, "Once upon a time");
  await page.getByRole("link", { name: "Server" }).click();
  await page.getByRole("heading", { name: "Server" }).waitFor();
  const row = page.getByRole("row", { name: /stories/ });
  await row.waitFor();
  expect(await row.innerText()).toContain("ready");
  await page.getByRole("link", { name: "Infill" }).click();
  await page.getByText("cannot fill in text").waitFor();
});
