import type { Message } from "../chat/message.ts";
import { Tree } from "../chat/tree.ts";
import { texts } from "../texts.ts";
import { notify } from "../ui/notices.tsx";
import { addConversations, conversations, historyStore, save } from "./history.ts";
import type { Conversation } from "./store.ts";
import { exported, ImportError, imported, markdownOf, MAX_FILE_BYTES, type Whole } from "./transfer.ts";

async function wholeOf(conversation: Conversation): Promise<Whole> {
  const messages: Message[] = [];
  await historyStore().messages(conversation.id, (some) => messages.push(...some));
  return { conversation, messages };
}

/** Offers conversations as one JSON file. */
export async function exportJson(wanted: readonly Conversation[] = conversations.value): Promise<void> {
  await save();
  const pieces: string[] = [];
  const whole: Whole[] = [];
  for (const conversation of wanted) whole.push(await wholeOf(conversation));
  for (const piece of exported(whole)) pieces.push(piece);
  const day = new Date().toISOString().slice(0, 10);
  offer(new Blob(pieces, { type: "application/json" }), `${texts.transfer.file}-${day}.json`);
}

/** Offers what is shown of a conversation as a Markdown file. */
export async function exportMarkdown(conversation: Conversation): Promise<void> {
  await save();
  const { messages } = await wholeOf(conversation);
  const tree = new Tree();
  for (const message of messages) tree.put(message);
  const path = tree.path(new Map(conversation.columns[0]?.chosen)).flatMap((id) => tree.get(id) ?? []);
  const name =
    conversation.title
      .replace(/[^\p{L}\p{N}]+/gu, "-")
      .replace(/^-|-$/g, "")
      .slice(0, 60) || texts.transfer.file;
  offer(new Blob([markdownOf(conversation.title, path)], { type: "text/markdown" }), `${name}.md`);
}

function offer(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Imports a file, and says what came of it. */
export async function importFile(file: File): Promise<void> {
  if (file.size > MAX_FILE_BYTES) return notify(texts.transfer.tooLarge, { isError: true });
  try {
    const { whole, broken } = imported(await file.text());
    await addConversations(whole);
    const said = [texts.transfer.done(whole.length), broken > 0 ? texts.transfer.broken(broken) : ""];
    notify(said.join(" ").trim(), { isError: broken > 0 });
  } catch (error) {
    notify(error instanceof ImportError ? error.message : texts.transfer.notStored, { isError: true });
  }
}
