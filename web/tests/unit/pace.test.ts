import { expect, test } from "vitest";
import { Portion } from "../../src/markdown/pace.ts";

/** The portions for frames that come so many milliseconds after one another. */
function portions(between: number, count: number): number[] {
  const portion = new Portion();
  return Array.from({ length: count }, (_, i) => portion.next(i * between));
}

test("of a long text more is taken in while frames come quickly, up to a limit", () => {
  const quick = portions(16, 30);
  expect(quick[1]).toBeGreaterThan(quick[0] ?? 0);
  expect(quick.at(-1)).toBe(65_536);
});

test("and less while they come slowly, but never nothing", () => {
  const slow = portions(80, 30);
  expect(slow[1]).toBeLessThan(slow[0] ?? 0);
  expect(slow.at(-1)).toBe(4_096);
});

test("and as much as before in between", () => {
  expect(new Set(portions(28, 10)).size).toBe(1);
});
