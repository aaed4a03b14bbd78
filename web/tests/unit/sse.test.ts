import { describe, expect, test } from "vitest";
import { SseParser } from "../../src/api/sse.ts";

const STREAM =
  '\uFEFF: hello\r\n\r\ndata: {"a":1}\r\n\r\ndata: two\ndata: lines\n\nevent: x\nid: 5\ndata:tight\r\rdata: [DONE]\n\n';
const EVENTS = ['{"a":1}', "two\nlines", "tight", "[DONE]"];

describe("server-sent events", () => {
  test("are found in one piece", () => {
    expect(new SseParser().push(STREAM)).toEqual(EVENTS);
  });

  test("are the same wherever the stream is cut", () => {
    for (let at = 0; at <= STREAM.length; at++) {
      const parser = new SseParser();
      expect([...parser.push(STREAM.slice(0, at)), ...parser.push(STREAM.slice(at))], `cut at ${at}`).toEqual(EVENTS);
    }
  });

  test("are the same letter by letter", () => {
    const parser = new SseParser();
    expect([...STREAM].flatMap((letter) => parser.push(letter))).toEqual(EVENTS);
  });

  test("that did not end are not told", () => {
    expect(new SseParser().push("data: half\n")).toEqual([]);
  });
});
