import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { openBrowser, openPage, type Watched } from "./browser.ts";
import { Served } from "./served.ts";
import { answered, articles, composer, lastAnswer, say } from "./talk.ts";
import { writeTinyModel } from "./tiny_model.ts";

// What only some models do: they call tools, judge, fill in and see.

const FIXTURES = process.env["PUNA_CONFORMANCE"] ?? resolve(import.meta.dirname, "../../../../shared/conformance");
const SEES = join(FIXTURES, "models/llama3.2-vision");
const DOG = join(FIXTURES, "images/dog_150x100.png");

/** Ends in another letter after a tool's result, and where a person's own tool is offered. */
const TEMPLATE =
  "{% for m in messages %}{{ m.role }}: {% if m.content is string %}{{ m.content }}{% endif %}\n{% endfor %}" +
  "{% if messages[-1].role == 'tool' %}R{% elif tools and tools[0].function.name == 'oracle' %}O{% else %}Q{% endif %}";

let folder: string;
let served: Served;
let browser: Browser;
let watched: Watched;
let page: Page;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "puna-"));
  const calls = {
    Q: ['{"name": "calculator", ', '"parameters": {"expression": "6 * 7"}}'],
    O: ['{"name": "oracle", ', '"parameters": {"about": "rain"}}'],
    R: ["▁It", "▁is", "▁so."],
  };
  await writeTinyModel(join(folder, "caller.gguf"), { answers: calls, metadata: { "tokenizer.chat_template": TEMPLATE } });
  await writeTinyModel(join(folder, "llama-guard.gguf"), { answers: { Q: ["▁unsafe", "\nO3"] } });
  const markers = ["▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>"];
  await writeTinyModel(join(folder, "filler.gguf"), { answers: { Q: ["▁return", "▁a", "▁+", "▁b"] }, markers });
  const models = ["caller", "llama-guard", "filler"].flatMap((name) => ["-m", `${name}=${join(folder, name)}.gguf`]);
  if (existsSync(SEES)) models.push("-m", `seer=${SEES}`);
  [served, browser] = await Promise.all([Served.start(...models), openBrowser()]);
});
afterAll(async () => {
  await browser.close();
  await served.end();
  await rm(folder, { recursive: true });
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

async function editPresets(): Promise<void> {
  await page.getByRole("button", { name: /^Preset: / }).click();
  await page.getByRole("menuitem", { name: "Edit presets…" }).click();
}

async function choose(model: string): Promise<void> {
  await page.getByRole("button", { name: /^Model: / }).click();
  await page.getByRole("menuitemradio", { name: model }).click();
}

test("a tool is called and shown, with its arguments and its result, and the answer goes on", async () => {
  await editPresets();
  await page.getByRole("switch", { name: "Calculator" }).check({ force: true });
  await page.keyboard.press("Escape");
  await composer(page).fill("How much is six times seven?");
  await page.keyboard.press("Enter");
  await articles(page).last().getByText("It is so.").waitFor();
  const call = page.locator("details.call");
  expect(await call.count()).toBe(1);
  expect(await call.locator("summary").innerText()).toContain("Called calculator");
  await call.locator("summary").click();
  await call.getByRole("heading", { name: "Result" }).waitFor();
  expect(await call.locator("pre").allInnerTexts()).toEqual(['{\n  "expression": "6 * 7"\n}', "42"]);
});

test("a person answers for a tool of their own", async () => {
  await editPresets();
  await page.getByRole("button", { name: "Add a tool" }).click();
  await page.getByLabel("Tool name").fill("oracle");
  await page.getByLabel("What it does").fill("Knows what will be.");
  await page.keyboard.press("Escape");
  await composer(page).fill("Will it rain?");
  await page.keyboard.press("Enter");
  await page.getByLabel("Result of oracle").fill("It will.");
  await page.getByRole("button", { name: "Give the result" }).click();
  await articles(page).last().getByText("It is so.").waitFor();
  await page.locator("details.call .call-result", { hasText: "It will." }).waitFor();
});

test("what a guard thinks is marked, until it is not asked any more", async () => {
  await say(page, "What do you think?");
  await page.getByText("Marked unsafe: Criminal Planning").first().waitFor();
  expect(await page.getByText("Marked unsafe").count()).toBe(2);
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByLabel("Have messages checked by llama-guard").uncheck({ force: true });
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "New chat" }).click();
  await say(page, "And now?");
  await page.waitForTimeout(300);
  expect(await page.getByText("Marked unsafe").count()).toBe(0);
});

test("a gap is filled in, and what was written taken over", async () => {
  await page.getByRole("link", { name: "Infill" }).click();
  await page.getByLabel("Before").fill("def add(a, b):\n   ");
  await page.getByLabel("After").fill("\n\nprint(add(1, 2))");
  await page.getByRole("button", { name: "Fill in" }).click();
  await page.locator(".infill-between pre", { hasText: "return a + b" }).waitFor();
  await page.getByRole("button", { name: "Insert" }).click();
  expect(await page.getByLabel("Before").inputValue()).toBe("def add(a, b):\n    return a + b");
  expect(await page.getByRole("button", { name: "Insert" }).count()).toBe(0);
});

test("presets are made, kept, chosen and deleted", async () => {
  await editPresets();
  await page.getByRole("button", { name: "New preset" }).click();
  await page.getByLabel("Name", { exact: true }).fill("Poet");
  await page.getByLabel("System prompt").fill("You speak in verse.");
  await page.getByLabel("Temperature").fill("9");
  await page.getByText(/^Between 0 and \d/).waitFor();
  await page.getByLabel("Temperature").fill("0.5");
  await page.keyboard.press("Escape");
  const [request] = await Promise.all([page.waitForRequest("**/v1/chat/completions"), say(page, "Hello")]);
  expect(request.postDataJSON()).toMatchObject({
    temperature: 0.5,
    messages: [{ role: "system", content: "You speak in verse." }, { role: "user", content: "Hello" }],
  });
  await page.reload();
  await page.getByRole("button", { name: "Preset: Poet" }).click();
  await page.getByRole("menuitemradio", { name: "Default" }).click();
  await page.getByRole("button", { name: "Preset: Default" }).waitFor();
  await editPresets();
  await page.getByRole("button", { name: "Poet" }).click();
  await page.getByRole("button", { name: "Delete preset" }).click();
  await page.getByRole("button", { name: "Poet" }).waitFor({ state: "hidden" });
});

/** Gives the field for messages a picture in this way. */
async function givePicture(by: "paste" | "drop"): Promise<void> {
  const bytes = [...(await readFile(DOG))];
  await composer(page).evaluate(
    (element, { bytes, by }) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(bytes)], "dog.png", { type: "image/png" }));
      const options = { bubbles: true, cancelable: true };
      const event =
        by === "drop"
          ? new DragEvent("drop", { ...options, dataTransfer: data })
          : new ClipboardEvent("paste", { ...options, clipboardData: data });
      element.dispatchEvent(event);
    },
    { bytes, by },
  );
}

test.skipIf(!existsSync(SEES))("pictures are pasted, dropped and chosen, and a model sees them", async () => {
  await givePicture("paste");
  await page.getByText("This model cannot see pictures.").waitFor();
  await choose("seer");
  await givePicture("paste");
  await page.getByRole("img", { name: "Picture 1" }).waitFor();
  await givePicture("drop");
  await page.getByRole("img", { name: "Picture 2" }).waitFor();
  const [chooser] = await Promise.all([
    page.waitForEvent("filechooser"),
    page.getByRole("button", { name: "Add pictures" }).click(),
  ]);
  await chooser.setFiles([
    { name: "dog.png", mimeType: "image/png", buffer: await readFile(DOG) },
    { name: "no.png", mimeType: "image/png", buffer: Buffer.from("no picture") },
  ]);
  await page.getByText("no.png is not a picture").waitFor();
  await page.getByRole("img", { name: "Picture 3" }).waitFor();
  await page.getByRole("button", { name: "Remove picture 3" }).click();
  await page.getByRole("button", { name: "Remove picture 2" }).click();
  await editPresets();
  await page.getByLabel("Max tokens").fill("8");
  await page.keyboard.press("Escape");
  await composer(page).fill("What is this?");
  const [request] = await Promise.all([page.waitForRequest("**/v1/chat/completions"), page.keyboard.press("Enter")]);
  const [message] = (request.postDataJSON() as { messages: { content: { type: string }[] }[] }).messages;
  expect(message?.content.map(({ type }) => type)).toEqual(["image_url", "text"]);
  await articles(page).first().getByRole("img", { name: "Picture 1 of the message" }).waitFor();
  await answered(page);
  expect(await articles(page).last().locator(".problem").count()).toBe(0);
  expect((await lastAnswer(page)).length).toBeGreaterThan(0);
});
