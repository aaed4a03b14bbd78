import type { Locator, Page } from "playwright-core";

/** What a person does in a chat. */

export const composer = (page: Page): Locator => page.getByRole("textbox", { name: "Message", exact: true });
export const articles = (page: Page): Locator => page.getByRole("feed", { name: "Messages" }).getByRole("article");

/** Sends a message, and waits until it is answered. */
export async function say(page: Page, text: string): Promise<void> {
  await composer(page).fill(text);
  await page.keyboard.press("Enter");
  await answered(page);
}

/** Waits until nothing is being written. */
export async function answered(page: Page): Promise<void> {
  await articles(page).last().getByText(/tokens\/s/).waitFor();
  await page.getByRole("button", { name: "Stop", exact: true }).waitFor({ state: "hidden" });
}

/** The text of the last answer. */
export async function lastAnswer(page: Page): Promise<string> {
  return articles(page).last().locator(".markdown, .tokens, .text").first().innerText();
}

/** Shows a conversation of one question, to which a model wrote this. */
export async function show(page: Page, text: string): Promise<void> {
  const question = { id: "a", parent: "", role: "user", text: "What do you say?", at: 1 };
  const answer = { id: "b", parent: "a", role: "assistant", text, at: 2, model: "stories", finish: "stop" };
  const conversation = { id: "shown", title: "Shown", messages: [question, answer] };
  const file = JSON.stringify({ format: "puna-conversations", version: 1, conversations: [conversation] });
  await importFile(page, "shown.json", Buffer.from(file));
  await page.keyboard.press("Escape");
  await page.getByRole("link", { name: "Shown" }).click();
  await articles(page).last().locator(".markdown").waitFor();
}

export async function importFile(page: Page, name: string, buffer: Buffer): Promise<void> {
  if (!(await page.getByRole("dialog", { name: "Settings" }).isVisible())) {
    // On a small screen it is in the drawer.
    const drawer = page.getByRole("button", { name: "Open the sidebar" });
    if (await drawer.isVisible()) await drawer.click();
    await page.getByRole("button", { name: "Settings" }).click();
  }
  const [chooser] = await Promise.all([
    page.waitForEvent("filechooser"),
    page.getByRole("button", { name: "Import…" }).click(),
  ]);
  await chooser.setFiles({ name, mimeType: "application/json", buffer });
}

/** Puts another text in the place of the last answer, as an edit does. */
export async function putAnswer(page: Page, text: string): Promise<void> {
  const last = articles(page).last();
  await last.getByRole("button", { name: "Edit", exact: true }).click();
  await page.getByRole("textbox", { name: "Edit the message" }).fill(text);
  await page.getByRole("button", { name: "Save as a new version" }).click();
}
