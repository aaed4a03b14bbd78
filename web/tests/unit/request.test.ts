import { describe, expect, test } from "vitest";
import { type Message, ROOT } from "../../src/chat/message.ts";
import { requestOf, shortened, sizesIn } from "../../src/chat/request.ts";
import { defaultPreset } from "../../src/settings/preset.ts";

const user = (text: string): Message => ({ id: text, parent: ROOT, role: "user", text, at: 0 });
const assistant = (text: string): Message => ({ id: `a${text}`, parent: ROOT, role: "assistant", text, at: 0 });
const wish = { model: "m", preset: defaultPreset(), leftOut: 0, probabilities: false, taken: 0 };

describe("a request", () => {
  test("asks for an answer", () => {
    expect(requestOf([user("Hi"), assistant("")], wish)).toEqual({
      model: "m",
      messages: [{ role: "user", content: "Hi" }],
      stream: true,
      stream_options: { include_usage: true },
    });
  });

  test("continues an answer that has begun", () => {
    expect(requestOf([user("Hi"), assistant("Hel")], wish)).toMatchObject({
      messages: [
        { role: "user", content: "Hi" },
        { role: "assistant", content: "Hel" },
      ],
      continue_final_message: true,
      add_generation_prompt: false,
    });
  });

  test("has what its preset says", () => {
    const preset = {
      ...defaultPreset(),
      system: "S",
      sampling: { temperature: 0, maxTokens: 10, topK: 5 },
      stop: ["x"],
      schema: '{"type":"object"}',
    };
    expect(requestOf([user("Hi")], { ...wish, preset, taken: 4, probabilities: true })).toMatchObject({
      messages: [
        { role: "system", content: "S" },
        { role: "user", content: "Hi" },
      ],
      temperature: 0,
      max_tokens: 6,
      top_k: 5,
      stop: ["x"],
      logprobs: true,
      top_logprobs: 5,
      response_format: { type: "json_schema", json_schema: { schema: { type: "object" } } },
    });
  });

  test("has pictures, calls and their results", () => {
    const called: Message = {
      ...assistant(""),
      calls: [{ id: "1", name: "f", arguments: "{}" }],
      finish: "tool_calls",
    };
    const result: Message = { id: "t", parent: "x", role: "tool", text: "ok", callId: "1", at: 0 };
    const body = requestOf([{ ...user("See"), pictures: ["data:x"] }, called, result, assistant("")], wish);
    expect(body).toMatchObject({
      messages: [
        {
          content: [
            { type: "image_url", image_url: { url: "data:x" } },
            { type: "text", text: "See" },
          ],
        },
        { content: null, tool_calls: [{ id: "1", type: "function", function: { name: "f", arguments: "{}" } }] },
        { role: "tool", tool_call_id: "1", content: "ok" },
      ],
    });
  });
});

describe("a conversation that is too long", () => {
  const line = Array.from({ length: 10 }, (_, i) => (i % 2 === 0 ? user("x".repeat(100)) : assistant("y".repeat(100))));

  test("begins later, with a message of the user", () => {
    const start = shortened(line, 0, 1000, 500);
    expect(start).toBe(8);
    expect(shortened(line, 0, 1000, 900)).toBe(4);
  });

  test("cannot begin later than with its last question", () => {
    expect(shortened(line, 6, 100_000, 10)).toBe(8);
    expect(shortened(line, 8, 100_000, 10)).toBeUndefined();
  });

  test("is measured by the server's words", () => {
    expect(
      sizesIn("prompt is too long: it has 6002 tokens, and this model's maximum context length is 512 tokens"),
    ).toEqual({ needed: 6002, limit: 512 });
    expect(sizesIn("no numbers")).toBeUndefined();
  });
});
