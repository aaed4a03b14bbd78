// How fast the page is here: `npm run speed [-- RUNS]`, on a quiet machine, with a built program (PUNA names another one).
//
// First paint from a server on the loopback; then, by the browser's own trace, the longest task of the page's thread while
// a history of 10,000 messages and an answer of 400 kB (about 100,000 tokens) are opened and scrolled from end to end.
// Medians of the runs, smallest to largest. Painting is done in software where there is no GPU.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { chromium } from "playwright-core";

const program = process.env.PUNA ?? resolve(import.meta.dirname, "../../target/release/puna");
const executablePath = process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/google-chrome"].find(existsSync);
const runs = Number(process.argv[2] ?? 5);
const port = 11498;

const words = "the llama walks over the high grassland and hums a quiet song about `ichu` and **salt** ".split(" ");
const paragraph = (seed, length) => Array.from({ length }, (_, i) => words[(seed * 31 + i * 7) % words.length]).join(" ");

function conversation(id, texts) {
  const messages = texts.map((text, i) => {
    const role = i % 2 === 0 ? "user" : "assistant";
    return { id: `m${String(i).padStart(6, "0")}`, parent: i === 0 ? "" : `m${String(i - 1).padStart(6, "0")}`, role, text, at: i, finish: "stop" };
  });
  return { id, title: id, messages };
}

const conversations = [
  conversation("history", Array.from({ length: 10_000 }, (_, i) => paragraph(i, i % 2 === 0 ? 12 : 80))),
  conversation("answer", ["Tell me all.", Array.from({ length: 900 }, (_, i) => paragraph(i, 80)).join("\n\n")]),
];
const file = Buffer.from(JSON.stringify({ format: "puna-conversations", version: 1, conversations }));

/** The longest task of the page's thread while something is done, in milliseconds. */
async function longestTask(page, act) {
  const client = await page.context().newCDPSession(page);
  const events = [];
  client.on("Tracing.dataCollected", ({ value }) => events.push(...value));
  await client.send("Tracing.start", { transferMode: "ReportEvents", categories: "toplevel,devtools.timeline,disabled-by-default-devtools.timeline" });
  await act();
  const complete = new Promise((done) => client.once("Tracing.tracingComplete", done));
  await client.send("Tracing.end");
  await complete;
  await client.detach();
  const mains = new Set(events.filter((event) => event.name === "thread_name" && event.args.name === "CrRendererMain").map((event) => `${event.pid} ${event.tid}`));
  const tasks = events.filter((event) => /RunTask$/.test(event.name) && event.ph === "X" && mains.has(`${event.pid} ${event.tid}`));
  return Math.max(0, ...tasks.map((event) => event.dur / 1000));
}

/** The element that scrolls. Looked for before anything is measured: that takes long itself. */
const scrolled = (page) =>
  page.evaluateHandle(() => {
    const long = [...document.querySelectorAll("*")].filter((element) => element.scrollHeight > element.clientHeight + 500);
    const all = long.filter((element) => /auto|scroll/.test(getComputedStyle(element).overflowY));
    return all.sort((a, b) => b.scrollHeight - a.scrollHeight)[0];
  });

/** Scrolls from one end to the other and back, half a screen at each frame, for some seconds. */
const scroll = (list) =>
  list.evaluate(async (list) => {
    for (let step = -400, end = performance.now() + 6000; performance.now() < end; ) {
      const before = list.scrollTop;
      list.scrollTop += step;
      if (list.scrollTop === before) step = -step;
      await new Promise(requestAnimationFrame);
    }
  });

const server = spawn(program, ["serve", "--quiet", "--port", String(port)], { stdio: "ignore" });
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const figures = {};
const note = (name, value) => (figures[name] ??= []).push(value);
try {
  const address = `http://127.0.0.1:${port}/`;
  while (!(await fetch(`${address}health`).then((answer) => answer.ok, () => false))) await new Promise((done) => setTimeout(done, 50));
  for (let run = 0; run < runs; run++) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    const page = await context.newPage();
    await page.goto(address);
    await page.waitForTimeout(500);
    note("first paint, ms", await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime));
    await page.getByRole("button", { name: "Settings" }).click();
    const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.getByRole("button", { name: "Import…" }).click()]);
    await chooser.setFiles({ name: "all.json", mimeType: "application/json", buffer: file });
    await page.getByText("2 conversations were imported").waitFor({ timeout: 120_000 });
    await page.keyboard.press("Escape");
    for (const name of ["history", "answer"]) {
      const open = async () => {
        await page.getByRole("link", { name, exact: true }).click();
        await page.getByRole("article").first().waitFor();
        await page.waitForTimeout(2000);
      };
      note(`${name}: opened, longest task, ms`, await longestTask(page, open));
      const list = await scrolled(page);
      note(`${name}: scrolled, longest task, ms`, await longestTask(page, () => scroll(list)));
    }
    await context.close();
  }
} finally {
  await browser.close();
  server.kill();
}
for (const [name, values] of Object.entries(figures)) {
  const sorted = values.toSorted((a, b) => a - b);
  const [least, middle, most] = [0, Math.floor(sorted.length / 2), sorted.length - 1].map((i) => sorted[i].toFixed(0));
  console.log(`${name}: ${middle} (${least} to ${most})`);
}
