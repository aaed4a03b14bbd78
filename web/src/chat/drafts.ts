const PREFIX = "puna.draft.";
const MAX_LETTERS = 200_000;

/** What was written and not sent, by conversations; it outlives a reload of the tab. */
export function draftOf(conversation: string): string {
  try {
    return sessionStorage.getItem(PREFIX + conversation) ?? "";
  } catch {
    return "";
  }
}

export function keepDraft(conversation: string, text: string): void {
  try {
    if (text === "" || text.length > MAX_LETTERS) sessionStorage.removeItem(PREFIX + conversation);
    else sessionStorage.setItem(PREFIX + conversation, text);
  } catch {
    // A draft that is not kept is still on the page.
  }
}
