// How fast the page is here: `npm run speed [-- RUNS]`, on a quiet machine, with a built program (PUNA names another one).
//
// First paint from a server on the loopback. By the browser's own trace, the longest task of the page's thread while a
// history of 10,000 messages, an answer of 400 kB (about 100,000 tokens) and 100,000 lines of code are opened, and scrolled
// from end to end: as it lasted, and as the processor worked on it, which is what a busy machine changes less. The share of
// one core that the page's thread takes while an answer of text, lists, tables and code is written at 200 tokens a second.
// The heap after 100 and 1,000 answers. Medians of the runs, smallest to largest; the heap, which takes minutes, once (alone
// with 0 RUNS).
// Painting is done in software where there is no GPU.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { chromium } from "playwright-core";
import { standIn } from "./stand_in.mjs";

const program = process.env.PUNA ?? resolve(import.meta.dirname, "../../target/release/puna");
const executablePath = process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/google-chrome"].find(existsSync);
const runs = Number(process.argv[2] ?? 5);
const port = 11498;
const tokensPerS = 200;

const words = "the llama walks over the high grassland and hums a quiet song about `ichu` and **salt** ".split(" ");
const paragraph = (seed, length) => Array.from({ length }, (_, i) => words[(seed * 31 + i * 7) % words.length]).join(" ");
const lines = (count) => Array.from({ length: count }, (_, i) => `const value${i} = ${i * 7} + f(${i});`).join("\n");

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
  conversation("code", ["Write it.", `\`\`\`js\n${lines(100_000)}\n\`\`\`\n`]),
];
const file = Buffer.from(JSON.stringify({ format: "puna-conversations", version: 1, conversations }));

/** What a model might write, as tokens of four letters or so. */
function writtenTokens(count) {
  const part = (i) =>
    `## Part ${i}\n\n${paragraph(i, 60)}\n\n- ${paragraph(i + 1, 12)}\n- ${paragraph(i + 2, 12)}\n\n| a | b |\n|---|---|\n| 1 | ${i} |\n\n\`\`\`js\n${lines(8)}\n\`\`\`\n\n`;
  const text = Array.from({ length: Math.ceil(count / 150) + 1 }, (_, i) => part(i)).join("");
  return text.match(/[^]{1,4}/g).slice(0, count);
}

/** The tasks of the page's thread while something is done, in milliseconds: how long they lasted, and worked. */
async function tasksOf(page, act) {
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
  const tasks = events.filter((event) => /ThreadControllerImpl::RunTask$/.test(event.name) && event.ph === "X" && mains.has(`${event.pid} ${event.tid}`));
  return tasks.map((event) => ({ lasted: event.dur / 1000, worked: (event.tdur ?? event.dur) / 1000 }));
}

async function noteLongest(name, page, act) {
  const tasks = await tasksOf(page, act);
  note(`${name}, longest task, ms`, Math.max(0, ...tasks.map(({ lasted }) => lasted)));
  note(`${name}, most work in a task, ms`, Math.max(0, ...tasks.map(({ worked }) => worked)));
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

async function newPage() {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  return context.newPage();
}

async function measureOpening() {
  const page = await newPage();
  await page.goto(address);
  await page.waitForTimeout(500);
  note("first paint, ms", await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime));
  await page.getByRole("button", { name: "Settings" }).click();
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.getByRole("button", { name: "Import…" }).click()]);
  await chooser.setFiles({ name: "all.json", mimeType: "application/json", buffer: file });
  await page.getByText("3 conversations were imported").waitFor({ timeout: 120_000 });
  await page.keyboard.press("Escape");
  for (const { id } of conversations) {
    // By the page's own means: looking for the link, as tests do, would be a part of what is measured.
    const link = await page.getByRole("link", { name: id, exact: true }).elementHandle();
    await noteLongest(`${id} opened`, page, async () => {
      await link.evaluate((link) => link.click());
      await page.waitForTimeout(4000);
    });
    const list = await scrolled(page);
    await noteLongest(`${id} scrolled`, page, () => scroll(list));
  }
  await page.context().close();
}

async function ask(page) {
  await page.getByRole("textbox", { name: "Message", exact: true }).fill("Write.");
  await page.keyboard.press("Enter");
}

async function measureStreaming() {
  const seconds = 10;
  const told = await standIn(port, { tokens: writtenTokens(tokensPerS * (seconds + 6)), perS: tokensPerS });
  const page = await newPage();
  await page.goto(told.address);
  await ask(page);
  // Its first seconds are about what the page is like when it is new.
  await page.waitForTimeout(3000);
  const start = performance.now();
  const tasks = await tasksOf(page, () => page.waitForTimeout(seconds * 1000));
  const worked = tasks.reduce((sum, task) => sum + task.worked, 0);
  note(`written at ${tokensPerS} tokens/s, share of one core, %`, (100 * worked) / (performance.now() - start));
  await page.context().close();
  told.close();
}

/** Ten answers in each of a hundred chats. */
async function measureHeap() {
  const tokens = writtenTokens(200);
  const told = await standIn(port, { tokens, perS: 0 });
  const page = await newPage();
  await page.goto(told.address);
  const client = await page.context().newCDPSession(page);
  for (let answers = 1; answers <= 1000; answers++) {
    if (answers % 10 === 1) await page.keyboard.press("Escape").then(() => page.getByRole("button", { name: "New chat" }).click());
    await ask(page);
    const articles = page.getByRole("feed").getByRole("article");
    await articles.nth(2 * ((answers - 1) % 10) + 1).getByText(`${tokens.length} out`).waitFor();
    if (answers !== 100 && answers !== 1000) continue;
    for (let i = 0; i < 3; i++) await client.send("HeapProfiler.collectGarbage");
    const { usedSize } = await client.send("Runtime.getHeapUsage");
    note(`heap after ${answers} answers, MB`, usedSize / 1e6);
  }
  await page.context().close();
  told.close();
}

const address = `http://127.0.0.1:${port}/`;
const server = spawn(program, ["serve", "--quiet", "--port", String(port)], { stdio: "ignore" });
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const figures = {};
const note = (name, value) => (figures[name] ??= []).push(value);
try {
  while (!(await fetch(`${address}health`).then((answer) => answer.ok, () => false))) await new Promise((done) => setTimeout(done, 50));
  for (let run = 0; run < runs; run++) {
    await measureOpening();
    await measureStreaming();
  }
  await measureHeap();
} finally {
  await browser.close();
  server.kill();
}
for (const [name, values] of Object.entries(figures)) {
  const sorted = values.toSorted((a, b) => a - b);
  const [least, middle, most] = [0, Math.floor(sorted.length / 2), sorted.length - 1].map((i) => sorted[i].toFixed(sorted[i] < 10 ? 1 : 0));
  console.log(`${name}: ${middle} (${least} to ${most})`);
}
