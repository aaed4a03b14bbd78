import { describe, expect, test } from "vitest";
import { ServerError, Unreachable } from "../../src/api/errors.ts";
import { nextStep, pause } from "../../src/api/resume.ts";

const failed = (error: unknown) => ({ kind: "failed", error }) as const;

describe("what follows an attempt", () => {
  test("an answer that ended is done", () => {
    expect(nextStep({ kind: "ended", finish: "stop" }, 3)).toEqual({ kind: "done", finish: "stop" });
  });

  test("a stream that was cut goes on, but not for ever", () => {
    expect(nextStep({ kind: "cut" }, 0).kind).toBe("reconnect");
    expect(nextStep({ kind: "cut" }, 100).kind).toBe("fail");
  });

  test("a server that is away is waited for, however long", () => {
    expect(nextStep(failed(new Unreachable()), 1000)).toEqual({ kind: "reconnect", afterS: 10 });
  });

  test("a busy server is asked again when it says so", () => {
    expect(nextStep(failed(new ServerError(429, "", "", 7)), 0)).toEqual({ kind: "wait", afterS: 7 });
    expect(nextStep(failed(new ServerError(503, "")), 0)).toEqual({ kind: "wait", afterS: 0.5 });
    expect(nextStep(failed(new ServerError(503, "")), 3).kind).toBe("fail");
    expect(nextStep(failed(new ServerError(503, "", "", 2)), 3).kind).toBe("wait");
    expect(nextStep(failed(new ServerError(429, "", "", 9999)), 0)).toEqual({ kind: "wait", afterS: 60 });
  });

  test("a key is asked for, a conversation shortened, other errors are told", () => {
    expect(nextStep(failed(new ServerError(401, "")), 0).kind).toBe("key");
    expect(nextStep(failed(new ServerError(400, "", "context_length_exceeded")), 0).kind).toBe("shorten");
    expect(nextStep(failed(new ServerError(400, "")), 0).kind).toBe("fail");
    expect(nextStep(failed(new ServerError(500, "")), 0).kind).toBe("fail");
    expect(nextStep(failed(new TypeError("x")), 0).kind).toBe("fail");
  });

  test("pauses grow to ten seconds", () => {
    expect([0, 1, 2, 3, 4, 5, 99].map(pause)).toEqual([0.5, 1, 2, 4, 8, 10, 10]);
  });
});
