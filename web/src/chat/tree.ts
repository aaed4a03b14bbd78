import { type Message, ROOT } from "./message.ts";

/** Which message follows each, where several do. */
export type Chosen = ReadonlyMap<string, string>;

/** All messages of a conversation, with all their branches. */
export class Tree {
  readonly #messages = new Map<string, Message>();
  readonly #children = new Map<string, string[]>();

  get size(): number {
    return this.#messages.size;
  }

  get(id: string): Message | undefined {
    return this.#messages.get(id);
  }

  all(): IterableIterator<Message> {
    return this.#messages.values();
  }

  /** Adds a message, or puts it in the place of the one with its id. */
  put(message: Message): void {
    const before = this.#messages.get(message.id);
    this.#messages.set(message.id, message);
    if (before?.parent === message.parent) return;
    if (before !== undefined) {
      const old = this.#children.get(before.parent);
      old?.splice(old.indexOf(before.id), 1);
    }
    const siblings = this.#children.get(message.parent);
    if (siblings === undefined) {
      this.#children.set(message.parent, [message.id]);
      return;
    }
    // In the order in which they were written; nearly always at the end.
    let at = siblings.length;
    while (at > 0 && (siblings[at - 1] ?? "") > message.id) at--;
    siblings.splice(at, 0, message.id);
  }

  childrenOf(id: string): readonly string[] {
    return this.#children.get(id) ?? [];
  }

  /** The message and its alternatives. */
  siblingsOf(id: string): readonly string[] {
    const message = this.#messages.get(id);
    return message === undefined ? [] : this.childrenOf(message.parent);
  }

  /** The child that is shown after a message: the chosen one, or the newest. */
  next(id: string, chosen: Chosen): string | undefined {
    const children = this.childrenOf(id);
    const wanted = chosen.get(id);
    return wanted !== undefined && children.includes(wanted) ? wanted : children.at(-1);
  }

  /** The messages that are shown, from the first to the last. */
  path(chosen: Chosen): string[] {
    const path: string[] = [];
    for (let id = this.next(ROOT, chosen); id !== undefined; id = this.next(id, chosen)) path.push(id);
    return path;
  }

  /** A message and all before it, from the last on. */
  *backFrom(id: string): Generator<Message> {
    // A tree that was imported could run in a circle.
    let left = this.#messages.size;
    for (let at = this.#messages.get(id); at !== undefined && left > 0; at = this.#messages.get(at.parent)) {
      left--;
      yield at;
    }
  }

  /** A message and all before it, from the first on. */
  lineTo(id: string): Message[] {
    return [...this.backFrom(id)].reverse();
  }

  /** The choices, changed so that a message is shown. */
  choosing(id: string, chosen: Chosen): Map<string, string> {
    const changed = new Map(chosen);
    for (const message of this.lineTo(id)) changed.set(message.parent, message.id);
    return changed;
  }
}
