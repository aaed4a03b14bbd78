import type { ComponentChildren, VNode } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { visibleText } from "./bidi.tsx";
import type { ChunksView } from "./chunks.ts";
import { textOf } from "./chunks.ts";
import { copyText } from "./clipboard.ts";
import type { Runs } from "./colouring.ts";
import { colourCode } from "./colourist.ts";
import { useKept } from "./kept.ts";
import { languageOf } from "./languages.ts";
import { limits } from "./limits.ts";
import { chunkKey } from "./plain_view.tsx";
import { nothing, useNear, usePrepared } from "./prepare.ts";
import { markdownTexts as texts } from "./texts.ts";

/** A block of code under a bar with its language and what can be done with it. */
export function CodeView(props: { code: ChunksView; info: string; isOpen: boolean }) {
  const { code, info, isOpen } = props;
  const language = useMemo(() => languageOf(info), [info]);
  const [isWrapped, setWrapped] = useState(false);
  const block = useRef<HTMLElement | null>(null);
  const text = useRef<HTMLElement | null>(null);
  const runs = useRuns(code, language.id, isOpen, block);
  return (
    <figure class="md-code" ref={block} dir="ltr">
      <figcaption>
        <span class="md-language">{language.name === "" ? texts.code.plainLanguage : language.name}</span>
        <button type="button" aria-pressed={isWrapped} aria-label={texts.code.wrapLabel} onClick={() => setWrapped(!isWrapped)}>
          {texts.code.wrap}
        </button>
        <CopyButton code={code} text={text} />
      </figcaption>
      <pre class={isWrapped ? "md-wrapped" : undefined} role="group" tabIndex={0} aria-label={texts.code.label(language.name)}>
        <code ref={text}>
          <CodeText code={code} runs={runs} isWrapped={isWrapped} />
        </code>
      </pre>
    </figure>
  );
}

type CopyState = "idle" | "copied" | "failed";

function CopyButton({ code, text }: { code: ChunksView; text: { current: HTMLElement | null } }) {
  const [state, setState] = useState<CopyState>("idle");
  useEffect(() => {
    if (state === "idle") return undefined;
    const timer = setTimeout(() => setState("idle"), state === "copied" ? 2000 : 8000);
    return () => clearTimeout(timer);
  }, [state]);
  const copy = async (): Promise<void> => {
    setState((await copyText(textOf(code), text.current)) ? "copied" : "failed");
  };
  return (
    <>
      <button type="button" aria-label={state === "copied" ? undefined : texts.code.copyLabel} onClick={() => void copy()}>
        {state === "copied" ? texts.code.copied : texts.code.copy}
      </button>
      <span class={state === "failed" ? "md-not-copied" : "md-spoken"} role="status">
        {state === "failed" ? texts.code.notCopied : state === "copied" ? texts.code.copied : ""}
      </span>
    </>
  );
}

/** The colours of finished code, from when it has come near the view. */
function useRuns(code: ChunksView, language: string | null, isOpen: boolean, block: { current: HTMLElement | null }): Runs | null {
  const isWanted = !isOpen && language !== null && code.length > 0 && code.length <= limits.highlight;
  const isNear = useNear(block, isWanted);
  const [runs, setRuns] = useState<Runs | null>(null);
  useEffect(() => {
    if (!isWanted || !isNear) return undefined;
    let isCurrent = true;
    void colourCode(language, textOf(code)).then((coloured) => {
      if (isCurrent) setRuns(coloured);
    });
    return () => {
      isCurrent = false;
    };
  }, [isWanted, isNear, language, code.length]);
  return isWanted ? runs : null;
}

/** The code in chunks, so that long code costs no more where it grows and is laid out only where it is seen. */
function CodeText({ code, runs, isWrapped }: { code: ChunksView; runs: Runs | null; isWrapped: boolean }) {
  const kept = useKept();
  const dependency = useMemo(() => ({ runs, isWrapped }), [runs, isWrapped]);
  if (code.count === 0) return <CodeChunk key={0} text={code.tail} runs={runs} from={0} isLong={false} />;
  const chunks: VNode[] = [];
  let from = 0;
  for (const [index, chunk] of code.chunks.entries()) {
    if (index === code.count) break;
    const start = from;
    const make = (): VNode => <CodeChunk key={index} text={chunk} runs={runs} from={start} isLong />;
    chunks.push(kept(chunkKey(code.chunks, index), dependency, make));
    from += chunk.length;
  }
  return (
    <>
      {chunks}
      <CodeChunk key={code.count} text={code.tail} runs={runs} from={from} isLong />
    </>
  );
}

function CodeChunk(props: { text: string; runs: Runs | null; from: number; isLong: boolean }) {
  const { text, runs, from, isLong } = props;
  const { value, element } = usePrepared(runs, nothing, runs === null);
  const children = value === null || value === undefined ? visibleText(text, true) : colouredText(text, value, from);
  if (!isLong) return <span ref={element}>{children}</span>;
  // The height of what is not in view: its lines.
  const lines = text.split("\n").length - (text.endsWith("\n") ? 1 : 0);
  return (
    <span ref={element} class="md-chunk" style={{ containIntrinsicBlockSize: `auto ${lines * 1.55}em` }}>
      {children}
    </span>
  );
}

function colouredText(text: string, runs: Runs, from: number): ComponentChildren[] {
  const parts: ComponentChildren[] = [];
  const end = from + text.length;
  let at = 0;
  for (const [index, length] of runs.lengths.entries()) {
    const start = Math.max(at, from);
    at += length;
    if (at <= from) continue;
    const part = visibleText(text.slice(start - from, Math.min(at, end) - from), true);
    const scope = runs.scopes[index] ?? "";
    parts.push(scope === "" ? part : <span class={`hl-${scope}`}>{part}</span>);
    if (at >= end) break;
  }
  return parts;
}
