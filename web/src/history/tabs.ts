import type { Message } from "../chat/message.ts";
import type { Conversation } from "./store.ts";

/** What one tab tells the others. */
export type TabNews =
  { kind: "changed"; conversation: Conversation; messages: readonly Message[] } | { kind: "removed"; id: string };

const channel = typeof BroadcastChannel === "undefined" ? undefined : new BroadcastChannel("puna.history");

export function tellTabs(news: TabNews): void {
  channel?.postMessage(news);
}

export function hearTabs(listener: (news: TabNews) => void): void {
  channel?.addEventListener("message", (event: MessageEvent<TabNews>) => listener(event.data));
}
