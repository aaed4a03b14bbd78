import { signal } from "@preact/signals";
import type { Conversation, Store } from "./store.ts";

/** A place where what was looked for stands. */
export interface Hit {
  conversation: string;
  /** The message; absent where the title says it. */
  message?: string;
  before: string;
  match: string;
  after: string;
}

const MAX_HITS = 100;
const AROUND = 40;

/** Letters as they are compared: without case and accents. */
function plain(text: string): string {
  return text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
}

/** Looks for words in a text; `undefined` where they are not in it. */
export function hitIn(text: string, wanted: string): Omit<Hit, "conversation" | "message"> | undefined {
  const needle = plain(wanted);
  if (needle === "") return undefined;
  const at = plain(text).indexOf(needle);
  if (at < 0) return undefined;
  // Without accents a text may be shorter or longer: the place is sought again by the length of what is before it.
  const start = plain(text.slice(0, at)).length === at ? at : placeOf(text, at);
  let end = start + wanted.length;
  while (end < text.length && plain(text.slice(start, end)).length < needle.length) end++;
  const from = Math.max(0, start - AROUND);
  const cut = (part: string) => part.replace(/\s+/g, " ");
  return {
    before: (from > 0 ? "…" : "") + cut(text.slice(from, start)),
    match: cut(text.slice(start, end)),
    after: cut(text.slice(end, end + AROUND)) + (end + AROUND < text.length ? "…" : ""),
  };
}

function placeOf(text: string, plainAt: number): number {
  let length = 0;
  let at = 0;
  for (const letter of text) {
    if (length >= plainAt) break;
    length += plain(letter).length;
    at += letter.length;
  }
  return at;
}

export const hits = signal<readonly Hit[]>([]);
export const isSearching = signal(false);
let wave = 0;

/** Looks through all titles and messages; a later search ends an earlier one. */
export async function search(wanted: string, conversations: readonly Conversation[], store: Store): Promise<void> {
  const own = ++wave;
  const needle = wanted.trim();
  hits.value = [];
  isSearching.value = needle !== "";
  if (needle === "") return;
  const listed = new Set(conversations.map((one) => one.id));
  const found = conversations.flatMap((one): Hit[] => {
    const hit = hitIn(one.title, needle);
    return hit === undefined ? [] : [{ conversation: one.id, ...hit }];
  });
  hits.value = found.slice(0, MAX_HITS);
  await store.visit((messages) => {
    if (own !== wave) return false;
    for (const message of messages) {
      if (!listed.has(message.conversation) || found.length >= MAX_HITS) continue;
      const hit = hitIn(message.text, needle);
      if (hit !== undefined) found.push({ conversation: message.conversation, message: message.message, ...hit });
    }
    if (found.length !== hits.value.length) hits.value = [...found];
    return found.length < MAX_HITS;
  });
  if (own === wave) isSearching.value = false;
}
