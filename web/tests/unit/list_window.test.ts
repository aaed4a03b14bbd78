import { describe, expect, test } from "vitest";
import { ListWindow, type Range, stepTo } from "../../src/chat/list_window.ts";

describe("the window of a list", () => {
  const ids = Array.from({ length: 1000 }, (_, i) => `m${i}`);
  const list = () => {
    const made = new ListWindow(() => 100);
    made.setIds(ids);
    return made;
  };

  test("is guessed where nothing was measured", () => {
    expect(list().height).toBe(100_000);
    expect(list().between(1000, 1500)).toEqual([10, 16]);
    expect(list().between(-500, -1)).toEqual([0, 1]);
    expect(list().between(1e9, 2e9)).toEqual([999, 1000]);
  });

  test("follows what is measured", () => {
    const made = list();
    expect(made.measure("m0", 300)).toBe(200);
    expect(made.measure("m0", 300)).toBe(0);
    expect(made.topOf(1)).toBe(300);
    expect(made.at(299)).toBe(0);
    expect(made.at(300)).toBe(1);
    made.forgetHeights();
    expect(made.topOf(1)).toBe(100);
  });

  test("of nothing is empty", () => {
    const made = new ListWindow(() => 100);
    made.setIds([]);
    expect(made.between(0, 1000)).toEqual([0, 0]);
    expect(made.height).toBe(0);
  });
});

test("is the same however it came to be", () => {
  let seed = 7;
  const random = (below: number) => (seed = (seed * 1103515245 + 12345) % 2147483648) % below;
  const made = new ListWindow((id) => 50 + id.length);
  const heights = new Map<string, number>();
  let ids: string[] = [];
  for (let round = 0; round < 500; round++) {
    const what = random(3);
    if (what === 0) {
      // A branch begins somewhere and has other messages.
      const kept = ids.slice(0, random(ids.length + 1));
      ids = [...kept, ...Array.from({ length: random(20) }, (_, i) => `r${round}.${i}`)];
      made.setIds(ids);
    } else if (what === 1 && ids.length > 0) {
      const id = ids[random(ids.length)] ?? "";
      heights.set(id, random(300));
      made.measure(id, heights.get(id) ?? 0);
    }
    let top = 0;
    ids.forEach((id, i) => {
      expect(made.topOf(i)).toBe(top);
      expect(made.placeOf(id)).toBe(i);
      top += heights.get(id) ?? 50 + id.length;
    });
    expect(made.height).toBe(top);
  }
});

describe("items come into the page", () => {
  const steps = (from: Range, wanted: Range, view: Range, isAtEnd: boolean) => {
    const all: Range[] = [];
    for (let now = from; now[0] !== wanted[0] || now[1] !== wanted[1]; ) {
      now = stepTo(now, wanted, view, 2, isAtEnd);
      all.push(now);
      if (all.length > 100) throw new Error("it never ends");
    }
    return all;
  };

  test("a few at once, those in view first", () => {
    expect(steps([10, 14], [4, 20], [8, 15], false)[0]).toEqual([9, 15]);
    expect(steps([10, 14], [4, 20], [8, 15], false).at(-1)).toEqual([4, 20]);
    expect(steps([0, 0], [100, 110], [103, 106], false)[0]).toEqual([103, 105]);
  });

  test("at the end of a list from the end", () => {
    expect(steps([0, 3], [90, 100], [96, 100], true)[0]).toEqual([98, 100]);
    expect(steps([0, 3], [90, 100], [96, 100], true)[1]).toEqual([96, 100]);
  });

  test("and what is not wanted goes at once", () => {
    expect(stepTo([0, 50], [10, 20], [12, 15], 2, false)).toEqual([10, 20]);
    expect(stepTo([0, 50], [0, 0], [0, 0], 2, true)).toEqual([0, 0]);
  });
});
