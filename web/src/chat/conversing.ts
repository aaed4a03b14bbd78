import { answer, runsOf } from "./answering.ts";
import { judge } from "./guarding.ts";
import { type Message, newId, ROOT } from "./message.ts";
import { branchedAt, type Choice, textUpTo } from "./probabilities.ts";
import type { Column, Thread } from "./thread.ts";

/** Sends a message in all columns, and has each answer it. */
export function send(thread: Thread, text: string, pictures: readonly string[]): void {
  if (runsOf(thread).length > 0) return;
  const byLeaf = new Map<string, Column[]>();
  for (const column of thread.columns.value) byLeaf.set(column.leaf, [...(byLeaf.get(column.leaf) ?? []), column]);
  for (const [parent, columns] of byLeaf) {
    const id = addUser(thread, columns, parent, text, pictures);
    for (const column of columns) answer(thread, column, id);
  }
}

function addUser(
  thread: Thread,
  columns: readonly Column[],
  parent: string,
  text: string,
  pictures: readonly string[],
): string {
  const message: Message = { id: newId(), parent, role: "user", text, at: Date.now() };
  if (pictures.length > 0) message.pictures = pictures;
  thread.add(message, columns);
  void judge(thread, message.id);
  return message.id;
}

/** Answers the same once more, in a branch of its own. */
export function regenerate(thread: Thread, column: Column, id: string): void {
  const message = thread.tree.get(id);
  if (message !== undefined && message.parent !== ROOT) answer(thread, column, message.parent);
}

/** Says a message in other words, in a branch of its own; what a user says is answered anew. */
export function edit(thread: Thread, column: Column, id: string, text: string): void {
  const message = thread.tree.get(id);
  if (message === undefined) return;
  if (message.role === "user") {
    answer(thread, column, addUser(thread, [column], message.parent, text, message.pictures ?? []));
    return;
  }
  const edited: Message = {
    id: newId(),
    parent: message.parent,
    role: "assistant",
    text,
    at: Date.now(),
    finish: "stop",
  };
  if (message.model !== undefined) edited.model = message.model;
  thread.add(edited, [column]);
  void judge(thread, edited.id);
}

/** Has an answer written that has another token somewhere, and begins as before. */
export function branchAt(thread: Thread, column: Column, id: string, index: number, alternative: Choice): void {
  const message = thread.tree.get(id);
  if (message?.tokens === undefined || alternative.text === undefined) return;
  const text = message.text.slice(0, message.tokens.start) + textUpTo(message.tokens, index) + alternative.text;
  answer(thread, column, message.parent, { text, tokens: branchedAt(message.tokens, index, alternative) });
}
