import { type Call, type Message, newId } from "./message.ts";
import type { Column, Thread } from "./thread.ts";
import { MAX_ROUNDS, resultOf } from "./tools.ts";

/** Answers those calls of a message that the page can answer. */
export function answerCalls(thread: Thread, column: Column, id: string): void {
  for (const call of openCalls(thread, column, id)) {
    const result = resultOf(call, new Date());
    if (result !== undefined) addResult(thread, column, id, call, result);
  }
}

/** The results that follow a message in a column. */
export function resultsOf(thread: Thread, column: Column, id: string): Message[] {
  const results: Message[] = [];
  for (
    let at = thread.tree.next(id, column.chosen.value);
    at !== undefined;
    at = thread.tree.next(at, column.chosen.value)
  ) {
    const message = thread.tree.get(at);
    if (message?.role !== "tool") break;
    results.push(message);
  }
  return results;
}

export function openCalls(thread: Thread, column: Column, id: string): Call[] {
  const answered = new Set(resultsOf(thread, column, id).map((result) => result.callId));
  return (thread.tree.get(id)?.calls ?? []).filter((call) => !answered.has(call.id));
}

export function addResult(thread: Thread, column: Column, id: string, call: Call, text: string): void {
  const parent = resultsOf(thread, column, id).at(-1)?.id ?? id;
  thread.add({ id: newId(), parent, role: "tool", text, at: Date.now(), callId: call.id }, [column]);
}

/** The result after which the model goes on; none where results are missing, or it called too often in a row. */
export function lastResult(thread: Thread, column: Column, id: string): string | undefined {
  const last = resultsOf(thread, column, id).at(-1);
  if (last === undefined || openCalls(thread, column, id).length > 0) return undefined;
  return roundsBefore(thread, id) < MAX_ROUNDS ? last.id : undefined;
}

/** How many answers in a row called tools, up to this one. */
export function roundsBefore(thread: Thread, id: string): number {
  let rounds = 0;
  for (const message of thread.tree.backFrom(id)) {
    if (message.role === "user") break;
    if ((message.calls?.length ?? 0) > 0) rounds++;
  }
  return rounds;
}
