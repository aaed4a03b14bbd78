import { signal } from "@preact/signals";

export type View = "chat" | "infill" | "server";

/** What the address says is shown. */
export interface Place {
  view: View;
  /** The conversation; absent for a new one. */
  conversation?: string;
}

export function placeOf(fragment: string): Place {
  const [name, id] = fragment.replace(/^#/, "").split("/", 2);
  if (name === "infill" || name === "server") return { view: name };
  if (name !== "chat" || id === undefined || id === "") return { view: "chat" };
  try {
    return { view: "chat", conversation: decodeURIComponent(id) };
  } catch {
    return { view: "chat" };
  }
}

export function addressOf(conversation: string): string {
  return `#chat/${encodeURIComponent(conversation)}`;
}

export const place = signal<Place>({ view: "chat" });

/** Goes somewhere, as a link would. */
export function go(fragment: string): void {
  if (location.hash === fragment || (location.hash === "" && fragment === "#")) {
    place.value = placeOf(fragment);
    return;
  }
  location.hash = fragment;
}

/** Puts another address in the place of this one. */
export function renamePlace(fragment: string): void {
  history.replaceState(history.state, "", fragment);
  place.value = placeOf(fragment);
}

/** Begins to follow the address; called once. */
export function followAddress(): void {
  const look = () => {
    place.value = placeOf(location.hash);
  };
  look();
  window.addEventListener("hashchange", look);
}
