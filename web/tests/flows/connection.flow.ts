import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { spawn } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openBrowser, openPage } from "./browser.ts";
import { PROGRAM, Served } from "./served.ts";
import { answered, articles, composer, lastAnswer, say } from "./talk.ts";

let browser: Browser;

beforeAll(async () => {
  browser = await openBrowser();
});
afterAll(async () => browser.close());

test("the server dies amid an answer, comes back, and the answer goes on", async () => {
  const served = await Served.start();
  const { page, faults, context } = await openPage(browser, served.address);
  await say(page, "Once upon a time");
  await composer(page).fill("and then");
  // Before its first token, or amid it: whichever it is, nothing may be lost.
  await page.keyboard.press("Enter");
  await served.end();
  // An answer that was whole already is one too; then the page sees at its next look that nobody is there.
  await page.getByText(/Reconnecting|does not answer/).first().waitFor({ timeout: 60_000 });
  await served.again();
  await answered(page);
  await expect.poll(() => articles(page).count()).toBe(4);
  expect((await lastAnswer(page)).length).toBeGreaterThan(0);
  expect(faults).toEqual([]);
  await context.close();
  await served.end();
});

test("the page is there while the server is not, and says so", async () => {
  const served = await Served.start();
  const { page, context } = await openPage(browser, served.address);
  await say(page, "Once upon a time");
  await page.evaluate(async () => void (await navigator.serviceWorker.ready));
  await page.reload();
  await served.end();
  await page.reload();
  await page.getByText("The server does not answer.").waitFor();
  await articles(page).first().getByText("Once upon a time").waitFor();
  await served.again();
  await page.getByText("The server does not answer.").waitFor({ state: "hidden", timeout: 30_000 });
  await say(page, "and on");
  await context.close();
  await served.end();
});

test("a server with a key asks for it", async () => {
  const served = await Served.start("--key", "right");
  const { page, context } = await openPage(browser, served.address);
  const dialog = page.getByRole("dialog", { name: "This server needs a key" });
  await dialog.getByLabel("Key", { exact: true }).fill("wrong");
  await page.keyboard.press("Enter");
  await page.getByText("The server does not know this key.").waitFor();
  await dialog.getByLabel("Key", { exact: true }).fill("right");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  await say(page, "Once upon a time");
  await context.close();
  await served.end();
});

test("`puna chat --web` opens a browser, which a link lets in once", async () => {
  const folder = await mkdtemp(join(tmpdir(), "puna-"));
  const link = join(folder, "link");
  // What opens browsers here is a program that notes what it was told to open.
  const opener = join(folder, "xdg-open");
  await writeFile(opener, `#!/bin/sh\nprintf %s "$1" > "${link}.new" && mv "${link}.new" "${link}"\n`);
  await chmod(opener, 0o755);
  const env = { ...process.env, PATH: `${folder}:${process.env["PATH"] ?? ""}` };
  const program = spawn(PROGRAM, ["chat", "--web"], { env, stdio: ["ignore", "ignore", "inherit"] });
  const read = () => readFile(link, "utf8").catch(() => "");
  await expect.poll(read, { timeout: 20_000 }).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/#code=[0-9a-f]{32}$/);
  const address = await read();
  const { page, context, faults } = await openPage(browser, address);
  await composer(page).waitFor();
  await say(page, "Once upon a time");
  expect(page.url()).not.toContain("code=");
  expect(faults).toEqual([]);
  // The same link again, from elsewhere.
  const other = await openPage(browser, address);
  await other.page.getByRole("dialog", { name: "This server needs a key" }).waitFor();
  await other.context.close();
  // A reload does not ask again.
  await page.reload();
  await say(page, "and on");
  await context.close();
  program.kill("SIGINT");
  await new Promise((done) => program.once("exit", done));
  await rm(folder, { recursive: true });
});
