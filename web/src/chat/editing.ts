import { signal } from "@preact/signals";

/** The message that is being said in other words. */
export const editing = signal<string | undefined>(undefined);
