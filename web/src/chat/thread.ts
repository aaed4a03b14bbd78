import { computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { Conversation, StoredColumn } from "../history/store.ts";
import { type Message, ROOT } from "./message.ts";
import { type Chosen, Tree } from "./tree.ts";

/** A way through a conversation's branches, and the model that answers there. */
export class Column {
  readonly model: Signal<string>;
  readonly chosen: Signal<Chosen>;
  /** The messages that are shown, from the first on. */
  readonly path: ReadonlySignal<readonly string[]>;

  constructor(thread: Thread, stored: StoredColumn) {
    this.model = signal(stored.model);
    this.chosen = signal<Chosen>(new Map(stored.chosen));
    this.path = computed(() => {
      void thread.shape.value;
      return thread.tree.path(this.chosen.value);
    });
  }

  /** The last message that is shown. */
  get leaf(): string {
    return this.path.value.at(-1) ?? ROOT;
  }
}

/** A conversation that is open: its messages, each of which can be followed by itself. */
export class Thread {
  readonly id: string;
  readonly tree = new Tree();
  /** Grows when a message is added: the tree is another then. */
  readonly shape = signal(0);
  readonly columns: Signal<readonly Column[]>;
  readonly preset: Signal<string>;
  readonly isLoading = signal(false);
  readonly #signals = new Map<string, Signal<Message>>();

  constructor(
    conversation: Conversation,
    /** Is told what is to be saved: a message, or the conversation itself. */
    readonly onChange: (thread: Thread, message?: Message) => void,
  ) {
    this.id = conversation.id;
    this.preset = signal(conversation.preset);
    this.columns = signal<readonly Column[]>([]);
    this.columns.value = conversation.columns.map((column) => new Column(this, column));
  }

  /** The column that a conversation always has. */
  get column(): Column {
    const first = this.columns.value[0];
    if (first !== undefined) return first;
    const column = new Column(this, { model: "", chosen: [] });
    this.columns.value = [column];
    return column;
  }

  message(id: string): ReadonlySignal<Message> | undefined {
    const message = this.tree.get(id);
    if (message === undefined) return undefined;
    let found = this.#signals.get(id);
    if (found === undefined) {
      found = signal(message);
      this.#signals.set(id, found);
    }
    return found;
  }

  /** Adds messages that were stored, or that another tab wrote. */
  receive(messages: readonly Message[]): void {
    const before = this.tree.size;
    for (const message of messages) this.#put(message);
    if (this.tree.size !== before) this.shape.value++;
  }

  #put(message: Message): void {
    this.tree.put(message);
    const known = this.#signals.get(message.id);
    if (known !== undefined) known.value = message;
  }

  /** Adds a message and shows it in some columns. */
  add(message: Message, shownIn: readonly Column[]): void {
    this.#put(message);
    for (const column of shownIn) column.chosen.value = new Map(column.chosen.value).set(message.parent, message.id);
    this.shape.value++;
    this.onChange(this, message);
  }

  update(id: string, change: (message: Message) => Message): void {
    const before = this.tree.get(id);
    if (before === undefined) return;
    const message = change(before);
    this.#put(message);
    this.onChange(this, message);
  }

  /** Shows a message, and so the branch in which it is. */
  show(id: string, column: Column): void {
    column.chosen.value = this.tree.choosing(id, column.chosen.value);
    this.onChange(this);
  }

  /** Lets a second model answer the same, beside the first. */
  compareWith(model: string): void {
    const { column } = this;
    // What is shown is fixed in both, so that neither follows what the other adds.
    const chosen = this.tree.choosing(column.leaf, column.chosen.value);
    column.chosen.value = chosen;
    this.columns.value = [column, new Column(this, { model, chosen: [...chosen] })];
    this.onChange(this);
  }

  /** Goes on with one column alone. */
  keep(column: Column): void {
    this.columns.value = [column];
    this.onChange(this);
  }

  /** Its columns as they are stored: choices count only where there is one. */
  stored(): readonly StoredColumn[] {
    return this.columns.value.map((column) => ({
      model: column.model.value,
      chosen: [...column.chosen.value].filter(([parent]) => this.tree.childrenOf(parent).length > 1),
    }));
  }
}
