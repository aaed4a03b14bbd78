import { batch, type Signal, signal } from "@preact/signals";
import { keyEntered } from "../api/access_key.ts";
import { isHealthy } from "../api/client.ts";
import { type Ended, stream } from "../api/completion.ts";
import { explain, ServerError } from "../api/errors.ts";
import { nextStep, type Outcome, pause, sleep, type Step } from "../api/resume.ts";
import { modelOf, models, refresh, watch } from "../api/server.ts";
import { presetOf } from "../settings/presets.ts";
import { settings } from "../settings/settings.ts";
import { texts } from "../texts.ts";
import { announce } from "../ui/announcer.tsx";
import { AnswerWriter } from "./answer_writer.ts";
import { judge } from "./guarding.ts";
import { type Call, type Finish, type Message, newId } from "./message.ts";
import type { PackedTokens } from "./probabilities.ts";
import { hasFormat, requestOf, shortened, roomMade, sizesIn } from "./request.ts";
import type { Column, Thread } from "./thread.ts";
import { addResult, answerCalls, lastResult } from "./tool_rounds.ts";

/** What is happening with an answer that is not there yet. */
export type RunStatus =
  | { kind: "waiting" }
  | { kind: "writing" }
  /** The server has too much to do; asked again at this time. */
  | { kind: "busy"; until: number }
  | { kind: "reconnecting" }
  | { kind: "key" };

/** An answer on its way. */
export interface Run {
  readonly id: string;
  readonly thread: Thread;
  readonly status: Signal<RunStatus>;
  readonly writer: AnswerWriter;
  stop(): void;
}

/** All answers on their way, by their messages. */
export const runs = signal<ReadonlyMap<string, Run>>(new Map());

export function runsOf(thread: Thread): Run[] {
  return [...runs.value.values()].filter((run) => run.thread === thread);
}

export function stopAll(thread: Thread): void {
  for (const run of runsOf(thread)) run.stop();
}

/** The model that answers in a column: its own, or the first where that is gone. */
export function modelFor(column: Column): string {
  const wanted = column.model.value || settings.model.value;
  return modelOf(wanted) !== undefined
    ? wanted
    : (models.value.find((model) => model.canChat !== false)?.name ?? models.value[0]?.name ?? wanted);
}

/** What a new answer begins with. */
export interface Beginning {
  text: string;
  tokens?: PackedTokens;
}

/** Adds an answer to a message, and has it written. */
export function answer(thread: Thread, column: Column, parent: string, beginning: Beginning = { text: "" }): void {
  const message: Message = {
    id: newId(),
    parent,
    role: "assistant",
    at: Date.now(),
    model: modelFor(column),
    ...beginning,
  };
  thread.add(message, [column]);
  void run(thread, column, message.id);
}

/** Whether an answer, the last of its column, can go on: it has words, waits for no tool, and nothing else is written. */
export function canContinue(thread: Thread, message: Message): boolean {
  const isWaiting = (message.calls?.length ?? 0) > 0;
  return message.role === "assistant" && message.text !== "" && !isWaiting && runsOf(thread).length === 0;
}

/** Has an answer go on that ended before it was over. */
export function continueAnswer(thread: Thread, column: Column, id: string): void {
  const message = thread.tree.get(id);
  // Half of something in a fixed form cannot be continued.
  if (message !== undefined && hasFormat(presetOf(thread.preset.value))) return answer(thread, column, message.parent);
  thread.update(id, ({ finish: _, problem: __, ...message }) => ({ ...message, text: withoutTrailingSpace(message) }));
  void run(thread, column, id);
}

/** Templates cut space at the end of a message; a model that does not see it writes it again. */
function withoutTrailingSpace(message: Omit<Message, "finish" | "problem">): string {
  return message.tokens === undefined ? message.text.trimEnd() : message.text;
}

async function run(thread: Thread, column: Column, id: string): Promise<void> {
  if (runs.value.has(id)) return;
  const abort = new AbortController();
  const status = signal<RunStatus>({ kind: "waiting" });
  // A model that is not awake loads first, and is seen to.
  const unwatch = watch(0.5);
  const writer = new AnswerWriter(thread, id, () => {
    status.value = { kind: "writing" };
    unwatch();
  });
  const current: Run = { id, thread, status, writer, stop: () => abort.abort() };
  runs.value = new Map(runs.value).set(id, current);
  announce(texts.announce.answering);
  try {
    const finish = await attempts(current, column, abort.signal);
    const figures = writer.end();
    thread.update(id, (message) => ({ ...message, finish, ...(figures === undefined ? {} : { figures }) }));
  } finally {
    unwatch();
    const left = new Map(runs.value);
    left.delete(id);
    runs.value = left;
    void refresh();
  }
  ended(thread, column, id);
}

/** Asks until the answer is whole, or there is no more to be done. */
async function attempts(run: Run, column: Column, until: AbortSignal): Promise<Finish> {
  const { thread, id, status, writer } = run;
  let leftOut = leftOutOf(thread, id);
  const leaveOut = (count: number) => {
    leftOut = count;
    thread.update(id, (message) => ({ ...message, leftOut: count }));
  };
  if (leftOut > 0) leaveOut(leftOut);
  const preset = presetOf(thread.preset.value);
  // Once: what the server counted before was of all that is left out now.
  const first = thread.tree.lineTo(id);
  const context = modelOf(first.at(-1)?.model ?? modelFor(column))?.context;
  const less = roomMade(first, leftOut, preset.system.length, context);
  if (less !== undefined) leaveOut(less);
  for (let tries = 0; ; tries++) {
    // Half of something in a fixed form cannot be continued, nor can half of a call.
    if (tries > 0) writer.forget(hasFormat(preset));
    status.value = { kind: "waiting" };
    writer.begin(settings.probabilities.value);
    const heardBefore = writer.tokenCount;
    const line = thread.tree.lineTo(id);
    const model = line.at(-1)?.model ?? modelFor(column);
    const wish = { model, preset, leftOut, probabilities: settings.probabilities.value, taken: writer.tokenCount };
    const outcome = await attempt(requestOf(line, wish), writer, until);
    if (until.aborted) return "stopped";
    // What is taken back each time brings the answer no further.
    if (writer.tokenCount > heardBefore && !hasFormat(preset)) tries = 0;
    const step = nextStep(outcome, tries);
    if (step.kind === "done") return finishOf(step.finish);
    if (step.kind === "shorten") {
      const sizes =
        outcome.kind === "failed" && outcome.error instanceof Error ? sizesIn(outcome.error.message) : undefined;
      const shorter = shortened(line, leftOut, sizes?.needed ?? 2, sizes?.limit ?? 1);
      if (shorter === undefined || tries > 20)
        return failed(thread, id, outcome.kind === "failed" ? outcome.error : undefined);
      leaveOut(shorter);
      continue;
    }
    if (step.kind === "fail") return failed(thread, id, step.error);
    await waitFor(step, status, until);
    if (until.aborted) return "stopped";
  }
}

async function attempt(body: object, writer: AnswerWriter, until: AbortSignal): Promise<Outcome> {
  let ended: Ended;
  try {
    ended = await stream("/v1/chat/completions", body, until, writer);
  } catch (error) {
    return { kind: "failed", error };
  } finally {
    writer.flush();
  }
  writer.count(ended.usage);
  return ended.finish === undefined ? { kind: "cut" } : { kind: "ended", finish: ended.finish };
}

async function waitFor(step: Step, status: Signal<RunStatus>, until: AbortSignal): Promise<void> {
  if (step.kind === "key") {
    status.value = { kind: "key" };
    return keyEntered(until);
  }
  if (step.kind === "wait") {
    status.value = { kind: "busy", until: Date.now() + step.afterS * 1000 };
    return sleep(step.afterS, until);
  }
  if (step.kind !== "reconnect") return;
  status.value = { kind: "reconnecting" };
  await sleep(step.afterS, until);
  for (let tries = 0; !until.aborted && !(await isHealthy(until)); tries++) await sleep(pause(tries), until);
}

function finishOf(reason: string): Finish {
  return reason === "length" || reason === "tool_calls" ? reason : "stop";
}

function failed(thread: Thread, id: string, error: unknown): Finish {
  const { what, todo, detail } = explain(error ?? new ServerError(400, ""));
  thread.update(id, (message) => ({
    ...message,
    problem: [what, todo, detail].filter((part) => part !== "").join("\n"),
  }));
  return "failed";
}

/**
 * How many messages an answer left out, or will: as many as the one before, so that what is left begins as before and is
 * found in the cache.
 */
export function leftOutOf(thread: Thread, id: string): number {
  for (const message of thread.tree.backFrom(id)) {
    if (message.role === "assistant" && (message.leftOut !== undefined || message.id !== id))
      return message.leftOut ?? 0;
  }
  return 0;
}

function ended(thread: Thread, column: Column, id: string): void {
  const message = thread.tree.get(id);
  if (message === undefined) return;
  if (message.finish === "failed") announce(texts.announce.failed(message.problem ?? ""));
  else if (message.finish === "stopped") announce(texts.announce.stopped);
  else announce(texts.announce.answered(message.text));
  void judge(thread, id);
  if (message.finish !== "tool_calls") return;
  batch(() => answerCalls(thread, column, id));
  goOn(thread, column, id);
}

/** Takes a tool's result that a person gave. */
export function giveResult(thread: Thread, column: Column, id: string, call: Call, result: string): void {
  addResult(thread, column, id, call, result);
  goOn(thread, column, id);
}

function goOn(thread: Thread, column: Column, id: string): void {
  const last = lastResult(thread, column, id);
  if (last !== undefined) answer(thread, column, last);
}
