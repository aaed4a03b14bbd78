import { describe, expect, test } from "vitest";
import { type Message, newId, ROOT } from "../../src/chat/message.ts";
import { Tree } from "../../src/chat/tree.ts";

function message(id: string, parent: string, role: Message["role"] = "user"): Message {
  return { id, parent, role, text: id, at: 0 };
}

function tree(...messages: Message[]): Tree {
  const made = new Tree();
  for (const one of messages) made.put(one);
  return made;
}

describe("a conversation's tree", () => {
  const branched = () =>
    tree(
      message("a", ROOT),
      message("b", "a", "assistant"),
      message("c", "a", "assistant"),
      message("d", "b"),
      message("e", "c"),
    );

  test("shows the newest branch where none was chosen", () => {
    expect(branched().path(new Map())).toEqual(["a", "c", "e"]);
  });

  test("shows the branch that was chosen", () => {
    expect(branched().path(new Map([["a", "b"]]))).toEqual(["a", "b", "d"]);
  });

  test("passes over a choice that is not there", () => {
    expect(branched().path(new Map([["a", "zzz"]]))).toEqual(["a", "c", "e"]);
  });

  test("knows versions in the order of their ids, however they came", () => {
    const made = tree(message("c", ROOT), message("a", ROOT), message("b", ROOT));
    expect(made.siblingsOf("b")).toEqual(["a", "b", "c"]);
  });

  test("puts a message in the place of the one with its id", () => {
    const made = branched();
    made.put({ ...message("b", "a", "assistant"), text: "other" });
    expect(made.get("b")?.text).toBe("other");
    expect(made.siblingsOf("b")).toEqual(["b", "c"]);
    expect(made.size).toBe(5);
  });

  test("chooses all that leads to a message", () => {
    const made = branched();
    expect(made.path(made.choosing("d", new Map()))).toEqual(["a", "b", "d"]);
  });

  test("tells the line to a message, also where it runs in a circle", () => {
    expect(
      branched()
        .lineTo("d")
        .map((one) => one.id),
    ).toEqual(["a", "b", "d"]);
    const circle = tree(message("x", "y"), message("y", "x"));
    expect(circle.lineTo("x").map((one) => one.id)).toEqual(["y", "x"]);
    expect(circle.path(new Map())).toEqual([]);
  });

  test("holds ten thousand messages in a row", () => {
    const made = new Tree();
    let parent = ROOT;
    for (let i = 0; i < 10_000; i++) {
      const id = newId();
      made.put(message(id, parent));
      parent = id;
    }
    expect(made.path(new Map()).length).toBe(10_000);
    expect(made.path(new Map()).at(-1)).toBe(parent);
  });
});

test("ids sort in the order in which they were made", () => {
  const ids = Array.from({ length: 5000 }, newId);
  expect(ids.toSorted()).toEqual(ids);
  expect(new Set(ids).size).toBe(ids.length);
});
