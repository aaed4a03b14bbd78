import type { ChunksView } from "./chunks.ts";
import { visibleText } from "./bidi.tsx";
import { useKept } from "./kept.ts";
import { markdownTexts as texts } from "./texts.ts";

/** Text as it was written, with a note on why it is not formatted. */
export function PlainView({ text }: { text: ChunksView }) {
  const kept = useKept();
  return (
    <div class="md-plain">
      <small class="md-plain-note">{texts.plain}</small>
      {text.chunks.slice(0, text.count).map((chunk, index) => {
        const key = chunkKey(text.chunks, index);
        return kept(key, chunk, () => <PlainChunk key={index} text={chunk} />);
      })}
      {text.tail !== "" && <PlainChunk key={text.count} text={text.tail} />}
    </div>
  );
}

function PlainChunk({ text }: { text: string }) {
  return (
    <div class="md-plain-chunk" dir="auto">
      {visibleText(text, true)}
    </div>
  );
}

/** An object that stands for the chunk: strings cannot be keys of weak maps. */
const keys = new WeakMap<readonly string[], object[]>();

export function chunkKey(chunks: readonly string[], index: number): object {
  const known = keys.get(chunks) ?? [];
  keys.set(chunks, known);
  return (known[index] ??= {});
}
