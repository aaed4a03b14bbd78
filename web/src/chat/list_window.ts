/** Which items of a long list are near what is seen, by heights that are measured where they are known. */
export class ListWindow {
  #ids: readonly string[] = [];
  readonly #places = new Map<string, number>();
  readonly #heights = new Map<string, number>();
  /** Where each item begins, and the last one ends; from the stale one on to be computed again. */
  readonly #tops: number[] = [0];
  #staleFrom = 0;

  constructor(
    /** A guess of a height that was never measured. */
    readonly guess: (id: string) => number,
  ) {}

  get ids(): readonly string[] {
    return this.#ids;
  }

  setIds(ids: readonly string[]): void {
    if (ids === this.#ids) return;
    const same = ids.findIndex((id, i) => id !== this.#ids[i]);
    const from = same < 0 ? Math.min(ids.length, this.#ids.length) : same;
    for (const id of this.#ids.slice(from)) this.#places.delete(id);
    for (let i = from; i < ids.length; i++) this.#places.set(ids[i] ?? "", i);
    this.#ids = ids;
    this.#staleFrom = Math.min(this.#staleFrom, from);
  }

  /** Forgets heights: the list has another width now. */
  forgetHeights(): void {
    this.#heights.clear();
    this.#staleFrom = 0;
  }

  placeOf(id: string): number {
    return this.#places.get(id) ?? -1;
  }

  /** Notes a height; by how much it differs from what was assumed. */
  measure(id: string, height: number): number {
    const before = this.#heights.get(id) ?? this.guess(id);
    this.#heights.set(id, height);
    const place = this.#places.get(id);
    if (before !== height && place !== undefined) this.#staleFrom = Math.min(this.#staleFrom, place);
    return height - before;
  }

  /** Where an item begins; for the number of items, where the list ends. */
  topOf(index: number): number {
    const count = this.#ids.length;
    for (; this.#staleFrom < count; this.#staleFrom++) {
      const id = this.#ids[this.#staleFrom] ?? "";
      this.#tops[this.#staleFrom + 1] = (this.#tops[this.#staleFrom] ?? 0) + (this.#heights.get(id) ?? this.guess(id));
    }
    return this.#tops[Math.min(index, count)] ?? 0;
  }

  get height(): number {
    return this.topOf(this.#ids.length);
  }

  /** The item at a height. */
  at(height: number): number {
    let [low, high] = [0, Math.max(0, this.#ids.length - 1)];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.topOf(middle) <= height) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The items between two heights: from the first up to, not including, the second. */
  between(from: number, to: number): [number, number] {
    if (this.#ids.length === 0) return [0, 0];
    return [this.at(Math.max(0, from)), Math.min(this.#ids.length, this.at(Math.max(0, to)) + 1)];
  }
}

/** From the first item up to, not including, the second. */
export type Range = readonly [number, number];

/**
 * The next step from the items that are in the page to those that are wanted there: what is not wanted goes, and at most so
 * many come, those in view before others. At the end of a list, its last come first.
 */
export function stepTo(now: Range, wanted: Range, view: Range, most: number, isAtEnd: boolean): Range {
  const start = isAtEnd ? wanted[1] : Math.max(wanted[0], Math.min(view[0], wanted[1]));
  const isApart = now[1] <= wanted[0] || now[0] >= wanted[1];
  let [from, to] = isApart ? [start, start] : [Math.max(now[0], wanted[0]), Math.min(now[1], wanted[1])];
  for (let left = most; left > 0; left--) {
    if (to < view[1] && to < wanted[1]) to++;
    else if (from > view[0] && from > wanted[0]) from--;
    else if (to < wanted[1]) to++;
    else if (from > wanted[0]) from--;
  }
  return [from, to];
}
