import { describe, expect, test } from "vitest";
import { calculate } from "../../src/chat/calculator.ts";
import { resultOf } from "../../src/chat/tools.ts";

describe("the calculator", () => {
  test.each([
    ["1 + 2 * 3", 7],
    ["(1 + 2) * 3", 9],
    ["2 ^ 3 ^ 2", 512],
    ["2 ** 10", 1024],
    ["-2 ^ 2", -4],
    ["2 ^ -1", 0.5],
    ["10 / 4 - 1", 1.5],
    ["7 % 4", 3],
    ["5!", 120],
    ["3! ^ 2", 36],
    ["sqrt(16) + abs(-3)", 7],
    ["log(8, 2)", 3],
    ["round(2.345, 2)", 2.35],
    ["max(1, 5, 3) × 2 ÷ 5 − 1", 1],
    ["1e3 + .5", 1000.5],
    ["1_000_000 / 8", 125000],
    ["2*PI", 2 * Math.PI],
    ["- - 3", 3],
  ])("%s", (expression, value) => {
    expect(calculate(expression)).toBeCloseTo(value, 10);
  });

  test.each([
    "",
    "1 +",
    "(1",
    "1)",
    "2 3",
    "alert(1)",
    "constructor",
    "__proto__",
    "a = 1",
    "1; 2",
    "sqrt()",
    "min()",
    "log(1,2,3)",
    "(-1)!",
    "[1]",
    "'x'",
  ])("refuses %s", (expression) => {
    expect(() => calculate(expression)).toThrow();
  });

  test("refuses what is nested too deeply or too long, and overflows nothing", () => {
    expect(() => calculate("(".repeat(900) + "1" + ")".repeat(900))).toThrow("deeply");
    expect(() => calculate("2^".repeat(900) + "1")).toThrow("deeply");
    expect(() => calculate("1+".repeat(5000) + "1")).toThrow("longer");
    expect(calculate(`${"-".repeat(1999)}1`)).toBe(-1);
    expect(calculate("999999!")).toBe(Infinity);
  });
});

describe("built-in tools", () => {
  const call = (name: string, args: string) => ({ id: "1", name, arguments: args });
  const now = new Date("2026-05-01T10:00:00Z");

  test("compute", () => {
    expect(resultOf(call("calculator", '{"expression": "0.1 + 0.2"}'), now)).toBe("0.3");
  });

  test("say what is wrong instead of failing", () => {
    expect(resultOf(call("calculator", "{"), now)).toContain("Error");
    expect(resultOf(call("calculator", "{}"), now)).toContain("expression");
    expect(resultOf(call("clock", '{"timezone": "Mars/Olympus"}'), now)).toContain("no time zone");
  });

  test("tell the time", () => {
    expect(resultOf(call("clock", '{"timezone": "Europe/Paris"}'), now)).toContain("12:00:00");
    expect(resultOf(call("clock", ""), now)).toContain("2026-05-01T10:00:00.000Z");
  });

  test("leave other tools to people", () => {
    expect(resultOf(call("weather", "{}"), now)).toBeUndefined();
  });
});
