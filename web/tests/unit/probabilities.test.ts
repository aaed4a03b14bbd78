import { describe, expect, test } from "vitest";
import {
  alternativesAt,
  branchedAt,
  countOf,
  piecesOf,
  textUpTo,
  tokenAt,
  TokenRecorder,
  withinText,
} from "../../src/chat/probabilities.ts";

const encode = (text: string) => [...new TextEncoder().encode(text)];
const whole = (text: string, probability: number) => ({ text, bytes: encode(text), logprob: Math.log(probability) });
const part = (bytes: number[]) => ({ text: undefined, bytes, logprob: Math.log(0.5) });

function recorded() {
  const recorder = new TokenRecorder(3);
  recorder.add({ ...whole("One", 0.5), top: [whole("One", 0.5), whole("Two", 0.25)] });
  const [a = 0, b = 0, c = 0, d = 0] = encode("\u{1F999}");
  recorder.add({ ...part([a, b]), top: [part([a, b])] });
  recorder.add({ ...part([c, d]), top: [] });
  recorder.add({ ...whole(" end", 0.9), top: [] });
  return recorder.pack();
}

describe("recorded tokens", () => {
  test("say their text, also where characters are made of several", () => {
    const tokens = recorded();
    expect(countOf(tokens)).toBe(4);
    expect(textUpTo(tokens, 4)).toBe("One\u{1F999} end");
    expect(piecesOf(tokens, 0, 4).map((piece) => [piece.text, piece.first, piece.count])).toEqual([
      ["One", 0, 1],
      ["\u{1F999}", 1, 2],
      [" end", 3, 1],
    ]);
  });

  test("know their alternatives", () => {
    const found = alternativesAt(recorded(), 0);
    expect(found.map((choice) => choice.text)).toEqual(["One", "Two"]);
    expect(found[1]?.probability).toBeCloseTo(0.25);
    expect(alternativesAt(recorded(), 1)[0]?.text).toBeUndefined();
    expect(alternativesAt(recorded(), 1)[0]?.shown).toBe("\\xf0\\x9f");
  });

  test("branch where an alternative was chosen", () => {
    const tokens = recorded();
    const choice = alternativesAt(tokens, 0)[1];
    if (choice === undefined) throw new Error("no alternative");
    const branched = branchedAt(tokens, 0, choice);
    expect(countOf(branched)).toBe(1);
    expect(textUpTo(branched, 1)).toBe("Two");
    expect(tokenAt(branched, 0)?.probability).toBeCloseTo(0.25);
  });

  test("end where the text does", () => {
    const recorder = new TokenRecorder(3, recorded());
    recorder.add({ ...whole("<end>", 0.9), top: [] });
    const tokens = recorder.pack();
    expect(countOf(withinText(tokens, "xyzOne\u{1F999} end"))).toBe(4);
    expect(countOf(withinText(tokens, "xyzOne\u{1F999}"))).toBe(3);
    expect(countOf(withinText(tokens, "xyz"))).toBe(0);
  });

  test("go on where they were", () => {
    const recorder = new TokenRecorder(3, recorded());
    for (let i = 0; i < 1000; i++) recorder.add({ ...whole(`w${i % 7}`, 0.1), top: [] });
    const tokens = recorder.pack();
    expect(countOf(tokens)).toBe(1004);
    expect(textUpTo(tokens, 4)).toBe("One\u{1F999} end");
    expect(tokens.words.length).toBe(12);
  });
});
