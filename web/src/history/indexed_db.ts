import type { Message } from "../chat/message.ts";
import { type Preset, readPreset } from "../settings/preset.ts";
import type { Conversation, Found, Store } from "./store.ts";

const NAME = "puna";
const VERSION = 1;
/** Messages that are read at once: few enough that nothing waits for them. */
const AT_ONCE = 250;

/** A message is kept by its conversation and its own id. */
type Kept = Message & { conversation: string };

/** Opens the browser's database. Throws where there is none or it is newer than this page. */
export async function openDatabase(onOutdated: () => void): Promise<Store> {
  const opening = indexedDB.open(NAME, VERSION);
  opening.onupgradeneeded = (event) => upgrade(opening.result, event.oldVersion);
  const database = await done(opening);
  // A newer page in another tab waits until this one lets go.
  database.onversionchange = () => {
    database.close();
    onOutdated();
  };
  return new DatabaseStore(database);
}

/** Each version adds to the one before. */
function upgrade(database: IDBDatabase, from: number): void {
  if (from < 1) {
    database.createObjectStore("conversations", { keyPath: "id" });
    database.createObjectStore("messages", { keyPath: ["conversation", "id"] });
    database.createObjectStore("presets", { keyPath: "id" });
  }
}

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("the database failed"));
  });
}

function ended(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new Error("the database failed"));
    transaction.onerror = () => reject(transaction.error ?? new Error("the database failed"));
  });
}

/** All messages of a conversation, by their keys. */
function keysOf(conversation: string): IDBKeyRange {
  // An array comes after every string.
  return IDBKeyRange.bound([conversation], [conversation, []]);
}

class DatabaseStore implements Store {
  constructor(readonly database: IDBDatabase) {}

  conversations(): Promise<Conversation[]> {
    return done<Conversation[]>(this.database.transaction("conversations").objectStore("conversations").getAll());
  }

  async messages(conversation: string, onSome: (messages: readonly Message[]) => void): Promise<void> {
    await this.#read(keysOf(conversation), (some) => {
      onSome(some.map(({ conversation: _, ...message }) => message));
      return true;
    });
  }

  async #read(range: IDBKeyRange | undefined, onSome: (some: Kept[]) => boolean): Promise<void> {
    let rest = range;
    for (;;) {
      const some = await done<Kept[]>(
        this.database.transaction("messages").objectStore("messages").getAll(rest, AT_ONCE),
      );
      if (some.length > 0 && !onSome(some)) return;
      const last = some.at(-1);
      if (last === undefined || some.length < AT_ONCE) return;
      const key = [last.conversation, last.id];
      rest = range === undefined ? IDBKeyRange.lowerBound(key, true) : IDBKeyRange.bound(key, range.upper, true);
    }
  }

  async add(conversation: Conversation, messages: readonly Message[]): Promise<void> {
    const transaction = this.database.transaction(["conversations", "messages"], "readwrite");
    transaction.objectStore("conversations").put(conversation);
    this.#put(transaction, conversation.id, messages);
    await ended(transaction);
  }

  /** Puts some messages, and when that is done the next: one transaction, and yet others have their turn. */
  #put(transaction: IDBTransaction, conversation: string, messages: readonly Message[], from = 0): void {
    const store = transaction.objectStore("messages");
    let last: IDBRequest | undefined;
    for (const message of messages.slice(from, from + AT_ONCE)) last = store.put({ ...message, conversation });
    if (last === undefined || from + AT_ONCE >= messages.length) return;
    last.onsuccess = () => this.#put(transaction, conversation, messages, from + AT_ONCE);
  }

  async change(
    id: string,
    change: (conversation: Conversation) => Conversation,
    messages: readonly Message[] = [],
  ): Promise<Conversation | undefined> {
    const transaction = this.database.transaction(["conversations", "messages"], "readwrite");
    const store = transaction.objectStore("conversations");
    let changed: Conversation | undefined;
    const reading: IDBRequest<Conversation | undefined> = store.get(id);
    reading.onsuccess = () => {
      if (reading.result === undefined) return;
      changed = change(reading.result);
      store.put(changed);
      this.#put(transaction, id, messages);
    };
    await ended(transaction);
    return changed;
  }

  async remove(ids: readonly string[]): Promise<void> {
    const transaction = this.database.transaction(["conversations", "messages"], "readwrite");
    for (const id of ids) {
      transaction.objectStore("conversations").delete(id);
      transaction.objectStore("messages").delete(keysOf(id));
    }
    await ended(transaction);
  }

  visit(onSome: (messages: readonly Found[]) => boolean): Promise<void> {
    return this.#read(undefined, (some) =>
      onSome(some.map((message) => ({ conversation: message.conversation, message: message.id, text: message.text }))),
    );
  }

  async presets(): Promise<Preset[]> {
    const kept = await done<unknown[]>(this.database.transaction("presets").objectStore("presets").getAll());
    return kept.map(readPreset).filter((preset): preset is Preset => preset !== undefined);
  }

  async savePreset(preset: Preset): Promise<void> {
    const transaction = this.database.transaction("presets", "readwrite");
    transaction.objectStore("presets").put(preset);
    await ended(transaction);
  }

  async removePreset(id: string): Promise<void> {
    const transaction = this.database.transaction("presets", "readwrite");
    transaction.objectStore("presets").delete(id);
    await ended(transaction);
  }
}
