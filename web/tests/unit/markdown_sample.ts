import { h } from "preact";
import renderToString from "preact-render-to-string";
import { Markdown } from "../../src/markdown/markdown.tsx";

/** The HTML that a complete text is rendered to. */
export function htmlOf(text: string, isLive = false): string {
  return renderToString(h(Markdown, { text, isLive }));
}

/** Numbers from 0 to 1 that are the same in each run. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

export function pick<T>(random: () => number, from: readonly T[]): T {
  const chosen = from[Math.floor(random() * from.length)];
  if (chosen === undefined) throw new Error("There is nothing to pick from.");
  return chosen;
}

/** Lines that mean something to Markdown's blocks. */
export const lines = [
  "foo", "bar baz", "", "", "", "# h", "- a", "- b", "-", "* c", "1. one", "2. two", "2) x", "   cont", "  ind", "    code",
  "      deep", "\ttab", "```", "```js", "~~~", "  ```", "   ```", "    ```", "> q", ">", "> ```", "---", "***", "- - -", "===",
  "| a | b |", "|---|---|", "| 1 | 2 |", "[^1]: note", "[^2]: b", "  - nested", "     - deep", "    ~~~", "1. ```", "- ```py",
  "+ plus", "10. ten", " - one", "> - ql", "-\tt", " > q", "----", "  ---", "**bold** and `code`", "[a](https://a.b)",
];
