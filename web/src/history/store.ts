import type { Message } from "../chat/message.ts";
import type { Preset } from "../settings/preset.ts";

/** One way through a conversation's branches, and who answers there. */
export interface StoredColumn {
  model: string;
  /** Which message follows each, where one was chosen. */
  chosen: readonly (readonly [string, string])[];
}

/** A conversation without its messages. */
export interface Conversation {
  id: string;
  title: string;
  /** Whether a person gave it its title. */
  isNamed: boolean;
  isPinned: boolean;
  created: number;
  changed: number;
  preset: string;
  /** Two where models are compared. */
  columns: readonly StoredColumn[];
  /** When it was deleted; a while later it is gone. */
  deletedAt?: number;
}

export interface Found {
  conversation: string;
  message: string;
  text: string;
}

/** Where conversations are kept. Each call happens as a whole or not at all. */
export interface Store {
  conversations(): Promise<Conversation[]>;
  /** Hands over a conversation's messages, some at a time, in the order in which they were written. */
  messages(conversation: string, onSome: (messages: readonly Message[]) => void): Promise<void>;
  /** Adds a conversation and its messages. */
  add(conversation: Conversation, messages: readonly Message[]): Promise<void>;
  /** Changes a conversation as it is by now and saves messages of it; one that is gone stays gone. */
  change(
    id: string,
    change: (conversation: Conversation) => Conversation,
    messages?: readonly Message[],
  ): Promise<Conversation | undefined>;
  remove(ids: readonly string[]): Promise<void>;
  /** Visits all messages, some at a time, the newest conversations' included in any order, until it returns false. */
  visit(onSome: (messages: readonly Found[]) => boolean): Promise<void>;
  presets(): Promise<Preset[]>;
  savePreset(preset: Preset): Promise<void>;
  removePreset(id: string): Promise<void>;
}
