import { expect, test } from "vitest";
import { hitIn } from "../../src/history/searching.ts";

test("words are found without case and accents", () => {
  expect(hitIn("Das Café am Meer", "CAFE")).toEqual({ before: "Das ", match: "Café", after: " am Meer" });
  expect(hitIn("Äpfel und Birnen", "birnen")?.match).toBe("Birnen");
  expect(hitIn("nothing here", "x")).toBeUndefined();
  expect(hitIn("anything", "")).toBeUndefined();
});

test("what is around a match is cut", () => {
  const hit = hitIn(`${"a ".repeat(100)}needle${" b".repeat(100)}`, "needle");
  expect(hit?.before.startsWith("…")).toBe(true);
  expect(hit?.after.endsWith("…")).toBe(true);
  expect((hit?.before.length ?? 0) < 50).toBe(true);
});
