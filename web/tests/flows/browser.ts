import { existsSync } from "node:fs";
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from "playwright-core";

const PATHS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

export async function openBrowser(): Promise<Browser> {
  const executablePath = process.env["CHROMIUM"] ?? PATHS.find((path) => existsSync(path));
  if (executablePath === undefined) throw new Error(`there is no Chromium; CHROMIUM names one (looked at ${PATHS.join(", ")})`);
  // Containers seldom have what its sandbox needs; nothing is opened here but the program's own page.
  return chromium.launch({ executablePath, args: ["--no-sandbox"] });
}

/** A page, and all that went wrong in it: nothing may. */
export interface Watched {
  page: Page;
  context: BrowserContext;
  faults: string[];
  /** Addresses that were asked for beyond the server. */
  strangers: string[];
}

/** Opens the page as one person's browser would that was never here before. */
export async function openPage(browser: Browser, address: string, options: BrowserContextOptions = {}): Promise<Watched> {
  const context = await browser.newContext({ locale: "en-GB", ...options });
  const page = await context.newPage();
  const faults: string[] = [];
  const strangers: string[] = [];
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("console", (message) => {
    // Also told where a policy forbade something.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) faults.push(message.text());
  });
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(new URL(address).origin) && !/^(data|blob):/.test(url)) strangers.push(url);
  });
  await page.goto(address);
  return { page, context, faults, strangers };
}
