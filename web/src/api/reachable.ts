import { signal } from "@preact/signals";

/** Whether the last request got any answer. */
export const reachable = signal(true);
