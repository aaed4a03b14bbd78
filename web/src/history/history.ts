import { computed, signal } from "@preact/signals";
import { runs, stopAll } from "../chat/answering.ts";
import { type Message, newId, ROOT } from "../chat/message.ts";
import { Thread } from "../chat/thread.ts";
import { loadPresets } from "../settings/presets.ts";
import { settings } from "../settings/settings.ts";
import { texts } from "../texts.ts";
import { notify } from "../ui/notices.tsx";
import { renamePlace } from "../ui/views.ts";
import { openDatabase } from "./indexed_db.ts";
import { MemoryStore } from "./memory_store.ts";
import type { Conversation, Store } from "./store.ts";
import { tellTabs } from "./tabs.ts";

/** How often an answer is stored while it is being written, and how long deleted conversations can come back. */
const SAVE_MS = 1000;
/** How soon what could not be stored is tried again. */
const AGAIN_MS = 5000;
const UNDO_MS = 10_000;
const TITLE_LENGTH = 60;

let store: Store = new MemoryStore();

/** All conversations by their ids, also those just deleted. */
const all = signal<ReadonlyMap<string, Conversation>>(new Map());

/** Conversations as they are listed: the newest first. */
export const conversations = computed<readonly Conversation[]>(() =>
  [...all.value.values()].filter((one) => one.deletedAt === undefined).sort((a, b) => b.changed - a.changed),
);

/** The conversation that is open. */
export const current = signal<Thread>(newThread());

/** Whether what is said here outlives the page. */
export const isKept = signal(true);

export function historyStore(): Store {
  return store;
}

export function conversationOf(id: string): Conversation | undefined {
  return all.value.get(id);
}

/** Opens the store; without one, conversations last as long as the page. */
export async function openHistory(): Promise<void> {
  try {
    store = await openDatabase(() => notify(texts.history.outdated, { isError: true }));
  } catch {
    isKept.value = false;
    store = new MemoryStore();
  }
  const found = await store.conversations();
  const gone = found
    .filter((one) => one.deletedAt !== undefined && Date.now() - one.deletedAt > UNDO_MS)
    .map((one) => one.id);
  if (gone.length > 0) void store.remove(gone);
  all.value = new Map(found.filter((one) => !gone.includes(one.id)).map((one) => [one.id, one]));
  await loadPresets(store);
}

function newThread(): Thread {
  const now = Date.now();
  const columns = [{ model: settings.model.value, chosen: [] }];
  const preset = settings.preset.value;
  return new Thread(
    { id: newId(), title: "", isNamed: false, isPinned: false, created: now, changed: now, preset, columns },
    changed,
  );
}

/** Begins a conversation, which is stored with its first message. */
export function beginConversation(): void {
  current.value = newThread();
}

/** Threads that still have something to save, or an answer on its way, by their ids. */
const alive = new Map<string, Thread>();

/** Opens a conversation; false where there is none with this id. */
export async function openConversation(id: string): Promise<boolean> {
  if (current.value.id === id) return true;
  const conversation = all.value.get(id);
  if (conversation?.deletedAt !== undefined) return false;
  // One that was just begun may not be stored yet.
  const known = alive.get(id);
  if (known !== undefined) {
    current.value = known;
    return true;
  }
  if (conversation === undefined) return false;
  const thread = new Thread(conversation, changed);
  thread.isLoading.value = true;
  current.value = thread;
  try {
    await store.messages(id, (messages) => messages.forEach((message) => thread.tree.put(message)));
  } finally {
    thread.shape.value++;
    thread.isLoading.value = false;
  }
  return true;
}

/** Messages that changed since they were saved, by their conversations. */
const unsaved = new Map<Thread, Map<string, Message>>();
let timer: ReturnType<typeof setTimeout> | undefined;

function changed(thread: Thread, message?: Message): void {
  // A conversation without messages is none yet.
  if (message === undefined && thread.tree.size === 0) return;
  const messages = unsaved.get(thread) ?? new Map<string, Message>();
  if (message !== undefined) messages.set(message.id, message);
  unsaved.set(thread, messages);
  alive.set(thread.id, thread);
  // An answer that is being written changes many times; what is said and done is kept at once.
  const isWritten = message?.role === "assistant" && message.finish === undefined;
  if (!isWritten) clearTimeout(timer);
  if (!isWritten || timer === undefined) timer = setTimeout(() => void save(), isWritten ? SAVE_MS : 0);
}

let saving: Promise<void> = Promise.resolve();

/** Saves what changed; called soon after changes, and when the page is left. One at a time saves. */
export function save(): Promise<void> {
  clearTimeout(timer);
  timer = undefined;
  saving = saving.then(saveAll);
  return saving;
}

async function saveAll(): Promise<void> {
  const taken = [...unsaved];
  unsaved.clear();
  for (const [thread, messages] of taken) {
    try {
      await saveThread(thread, [...messages.values()]);
      hasFailed = false;
    } catch {
      keepForLater(thread, messages);
      if (!hasFailed) notify(texts.history.notSaved, { isError: true });
      hasFailed = true;
    }
  }
  const running = new Set([...runs.value.values()].map((run) => run.thread));
  for (const [id, thread] of alive) {
    if (!unsaved.has(thread) && !running.has(thread)) alive.delete(id);
  }
}

/** Whether the last attempt to save failed, which was said. */
let hasFailed = false;

/** Has messages saved later that could not be, unless they changed since. */
function keepForLater(thread: Thread, messages: ReadonlyMap<string, Message>): void {
  unsaved.set(thread, new Map([...messages, ...(unsaved.get(thread) ?? [])]));
  timer ??= setTimeout(() => void save(), AGAIN_MS);
}

async function saveThread(thread: Thread, messages: readonly Message[]): Promise<void> {
  const update = (one: Conversation): Conversation => ({
    ...one,
    title: one.isNamed ? one.title : titleOf(thread),
    changed: messages.length > 0 ? Date.now() : one.changed,
    preset: thread.preset.value,
    columns: thread.stored(),
  });
  if (purged.has(thread.id)) return;
  let saved: Conversation | undefined;
  if (all.value.has(thread.id)) {
    saved = await store.change(thread.id, update, messages);
  } else {
    const now = Date.now();
    saved = update({
      id: thread.id,
      title: "",
      isNamed: false,
      isPinned: false,
      created: now,
      changed: now,
      preset: "",
      columns: [],
    });
    await store.add(saved, [...thread.tree.all()]);
  }
  if (saved === undefined) return;
  put(saved);
  tellTabs({ kind: "changed", conversation: saved, messages });
}

function titleOf(thread: Thread): string {
  const first = thread.tree.get(thread.tree.childrenOf(ROOT)[0] ?? "");
  const line = first?.text.trim().split("\n", 1)[0]?.trim() ?? "";
  const short = line.length > TITLE_LENGTH ? `${line.slice(0, TITLE_LENGTH).trimEnd()}…` : line;
  return short === "" ? texts.history.untitled : short;
}

function put(conversation: Conversation): void {
  purged.delete(conversation.id);
  all.value = new Map(all.value).set(conversation.id, conversation);
}

async function change(id: string, update: (one: Conversation) => Conversation): Promise<void> {
  const saved = await store.change(id, update);
  if (saved === undefined) return;
  put(saved);
  tellTabs({ kind: "changed", conversation: saved, messages: [] });
}

export function rename(id: string, title: string): Promise<void> {
  const name = title.trim();
  return change(id, (one) => (name === "" ? one : { ...one, title: name, isNamed: true }));
}

export function pin(id: string, isPinned: boolean): Promise<void> {
  return change(id, (one) => ({ ...one, isPinned }));
}

/** Deletes a conversation, which can be taken back for a while. */
export async function remove(id: string): Promise<void> {
  const title = all.value.get(id)?.title ?? "";
  stop(id);
  await save();
  await change(id, (one) => ({ ...one, deletedAt: Date.now() }));
  const gone = setTimeout(() => void purge(id), UNDO_MS);
  const undo = async () => {
    clearTimeout(gone);
    await change(id, ({ deletedAt: _, ...one }) => one);
  };
  notify(texts.history.deleted(title), { action: { label: texts.common.undo, act: () => void undo() } });
  leave(id);
}

/** Conversations that are gone for good: an answer on its way must not bring one back. */
const purged = new Set<string>();

/** Stops what is being written in a conversation. */
function stop(id: string): void {
  const thread = current.value.id === id ? current.value : alive.get(id);
  if (thread !== undefined) stopAll(thread);
}

/** Goes from a conversation that is no more to a new one. */
function leave(id: string): void {
  if (current.value.id !== id) return;
  beginConversation();
  renamePlace("#");
}

async function purge(id: string): Promise<void> {
  await store.remove([id]);
  forget(id);
  tellTabs({ kind: "removed", id });
}

function forget(id: string): void {
  purged.add(id);
  const left = new Map(all.value);
  left.delete(id);
  all.value = left;
}

/** Adds conversations from elsewhere; those that are here already get another id. */
export async function addConversations(
  whole: readonly { conversation: Conversation; messages: readonly Message[] }[],
): Promise<void> {
  for (const { conversation, messages } of whole) {
    const own = all.value.has(conversation.id) ? { ...conversation, id: newId() } : conversation;
    await store.add(own, messages);
    put(own);
    tellTabs({ kind: "changed", conversation: own, messages: [] });
  }
}

/** Takes what another tab did. */
export function heardFromTab(conversation: Conversation, messages: readonly Message[]): void {
  put(conversation);
  const thread = current.value.id === conversation.id ? current.value : alive.get(conversation.id);
  thread?.receive(messages.filter((message) => !runs.value.has(message.id)));
  if (conversation.deletedAt === undefined) return;
  stop(conversation.id);
  leave(conversation.id);
}

export function removedInTab(id: string): void {
  stop(id);
  forget(id);
  leave(id);
}
