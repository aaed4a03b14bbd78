import { describe, expect, test } from "vitest";
import { type Message, ROOT } from "../../src/chat/message.ts";
import { TokenRecorder } from "../../src/chat/probabilities.ts";
import type { Conversation } from "../../src/history/store.ts";
import { exported, ImportError, imported, markdownOf, type Whole } from "../../src/history/transfer.ts";

const bytes = (text: string) => [...new TextEncoder().encode(text)];

function whole(id: string): Whole {
  const recorder = new TokenRecorder(0);
  recorder.add({
    text: "Hi",
    bytes: bytes("Hi"),
    logprob: -0.5,
    top: [{ text: "Ho", bytes: bytes("Ho"), logprob: -1.25 }],
  });
  const messages: Message[] = [
    {
      id: `${id}1`,
      parent: ROOT,
      role: "user",
      text: "Hello\n\u{1F999} “quotes” </script>",
      at: 5,
      pictures: ["data:image/png;base64,AAAA"],
    },
    {
      id: `${id}2`,
      parent: `${id}1`,
      role: "assistant",
      text: "Hi",
      at: 6,
      model: "m",
      finish: "tool_calls",
      calls: [{ id: "c", name: "clock", arguments: "{}" }],
      figures: { promptTokens: 3, cachedTokens: 1, completionTokens: 1, firstTokenS: 0.25, tokensPerS: 12.5 },
      tokens: recorder.pack(),
      verdict: { isSafe: false, categories: ["Hate"] },
      leftOut: 2,
    },
    { id: `${id}3`, parent: `${id}2`, role: "tool", text: "noon", at: 7, callId: "c" },
  ];
  const conversation: Conversation = {
    id,
    title: "A title",
    isNamed: true,
    isPinned: true,
    created: 1,
    changed: 2,
    preset: "default",
    columns: [{ model: "m", chosen: [[ROOT, `${id}1`]] }],
  };
  return { conversation, messages };
}

const file = (all: Whole[]) => [...exported(all)].join("");

describe("export and import", () => {
  test("give back what went in", () => {
    const all = [whole("a"), whole("b")];
    const back = imported(file(all));
    expect(back.broken).toBe(0);
    expect(back.whole).toEqual(all);
  });

  test("leave out that a conversation was deleted", () => {
    const { conversation, messages } = whole("a");
    const back = imported(file([{ conversation: { ...conversation, deletedAt: 5 }, messages }]));
    expect(back.whole[0]?.conversation).toEqual(conversation);
  });

  test("of nothing work", () => {
    expect(imported(file([]))).toEqual({ whole: [], broken: 0 });
  });

  test.each([
    "",
    "{",
    "[]",
    "null",
    "{}",
    '{"format":"other","version":1,"conversations":[]}',
    '{"format":"puna-conversations","version":99,"conversations":[]}',
  ])("refuse %s in words", (text) => {
    expect(() => imported(text)).toThrow(ImportError);
  });

  test("read what is not broken", () => {
    const good = JSON.parse(file([whole("a")])).conversations[0];
    const conversations = [
      good,
      null,
      5,
      {},
      { ...good, messages: "x" },
      { ...good, title: 7 },
      { ...good, messages: [{ ...good.messages[0], parent: "nobody" }] },
      { ...good, messages: [good.messages[0], good.messages[0]] },
      { ...good, messages: [{ ...good.messages[0], role: "system" }] },
    ];
    const back = imported(JSON.stringify({ format: "puna-conversations", version: 1, conversations }));
    expect(back.whole.length).toBe(1);
    expect(back.broken).toBe(8);
  });

  test("take no picture that would be fetched", () => {
    const good = JSON.parse(file([whole("a")])).conversations[0];
    good.messages[0].pictures = [
      "https://evil.example/x.png",
      "data:image/svg+xml,<svg/>",
      "javascript:1",
      "data:image/png;base64,AAAA",
    ];
    const back = imported(JSON.stringify({ format: "puna-conversations", version: 1, conversations: [good] }));
    expect(back.whole[0]?.messages[0]?.pictures).toEqual(["data:image/png;base64,AAAA"]);
  });

  test("to Markdown say who said what", () => {
    const { messages } = whole("a");
    const text = markdownOf("A title", messages);
    expect(text).toContain("# A title\n\n## You\n\nHello");
    expect(text).toContain("## m\n\nHi\n\n`clock({})`");
  });

  test("messages are read in any order, and what answers nothing is left out", () => {
    const told = JSON.parse([...exported([whole("a")])].join("")) as { conversations: { messages: object[] }[] };
    const conversation = told.conversations[0];
    conversation?.messages.reverse();
    const circle = [
      { id: "x", parent: "y", role: "user", text: "round", at: 1 },
      { id: "y", parent: "x", role: "user", text: "and round", at: 1 },
    ];
    conversation?.messages.push({ id: "orphan", parent: "nobody", role: "user", text: "alone", at: 1 }, ...circle);
    const { whole: read, broken } = imported(JSON.stringify(told));
    expect(broken).toBe(0);
    expect(read[0]?.messages.map((message) => message.id).sort()).toEqual(["a1", "a2", "a3"]);
  });
});
