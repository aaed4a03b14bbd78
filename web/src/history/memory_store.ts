import type { Message } from "../chat/message.ts";
import type { Preset } from "../settings/preset.ts";
import type { Conversation, Found, Store } from "./store.ts";

/** Keeps conversations as long as the page is open, where the browser keeps nothing. */
export class MemoryStore implements Store {
  readonly #conversations = new Map<string, Conversation>();
  readonly #messages = new Map<string, Map<string, Message>>();
  readonly #presets = new Map<string, Preset>();

  async conversations(): Promise<Conversation[]> {
    return [...this.#conversations.values()];
  }

  async messages(conversation: string, onSome: (messages: readonly Message[]) => void): Promise<void> {
    const kept = [...(this.#messages.get(conversation)?.values() ?? [])];
    onSome(kept.sort((a, b) => (a.id < b.id ? -1 : 1)));
  }

  async add(conversation: Conversation, messages: readonly Message[]): Promise<void> {
    this.#conversations.set(conversation.id, conversation);
    this.#messages.set(conversation.id, new Map(messages.map((message) => [message.id, message])));
  }

  async change(
    id: string,
    change: (conversation: Conversation) => Conversation,
    messages: readonly Message[] = [],
  ): Promise<Conversation | undefined> {
    const before = this.#conversations.get(id);
    if (before === undefined) return undefined;
    const changed = change(before);
    this.#conversations.set(id, changed);
    for (const message of messages) this.#messages.get(id)?.set(message.id, message);
    return changed;
  }

  async remove(ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      this.#conversations.delete(id);
      this.#messages.delete(id);
    }
  }

  async visit(onSome: (messages: readonly Found[]) => boolean): Promise<void> {
    for (const [conversation, messages] of this.#messages) {
      const found = [...messages.values()].map((message) => ({
        conversation,
        message: message.id,
        text: message.text,
      }));
      if (!onSome(found)) return;
    }
  }

  async presets(): Promise<Preset[]> {
    return [...this.#presets.values()];
  }

  async savePreset(preset: Preset): Promise<void> {
    this.#presets.set(preset.id, preset);
  }

  async removePreset(id: string): Promise<void> {
    this.#presets.delete(id);
  }
}
