import { signal } from "@preact/signals";

/** On a narrow screen, whether the sidebar lies over the page. */
export const isDrawerOpen = signal(false);

export function isNarrow(): boolean {
  return matchMedia("(max-width: 760px)").matches;
}
