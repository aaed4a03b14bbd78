import { signal } from "@preact/signals";

/** Answers that another tab is writing, by when it was last heard of. */
const heard = signal<ReadonlyMap<string, ReturnType<typeof setTimeout>>>(new Map());
const SILENCE_MS = 5000;

/** Notes that another tab wrote a part of an answer. */
export function heardElsewhere(id: string, isOver: boolean): void {
  const changed = new Map(heard.peek());
  clearTimeout(changed.get(id));
  changed.delete(id);
  if (!isOver)
    changed.set(
      id,
      setTimeout(() => heardElsewhere(id, true), SILENCE_MS),
    );
  heard.value = changed;
}

export function isWrittenElsewhere(id: string): boolean {
  return heard.value.has(id);
}
