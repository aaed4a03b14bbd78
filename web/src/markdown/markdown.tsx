import "./markdown.css";
import type { JSX, VNode } from "preact";
import { useEffect, useId, useLayoutEffect, useReducer, useRef } from "preact/hooks";
import { MarkdownDocument } from "./document.ts";
import { NotesView } from "./notes_view.tsx";
import { Pace, Portion } from "./pace.ts";
import { PageView } from "./page_view.tsx";
import type { References } from "./references.ts";

/** A text of more characters is taken in frame by frame. */
const longText = 8_192;
const hasFrames = typeof requestAnimationFrame !== "undefined";

/**
 * A model's text, rendered. While `isLive`, the text may only be appended to: the page shows it frame by frame, at a pace
 * that keeps the cost low, and what was shown stays as it is.
 */
export function Markdown({ text, isLive }: { text: string; isLive: boolean }): JSX.Element {
  const id = useId();
  const shown = useRef(new MarkdownDocument()).current;
  const pace = useRef(new Pace()).current;
  const portion = useRef(new Portion()).current;
  const view = useRef<{ version: number; vnode: VNode } | null>(null);
  const latest = useRef(text);
  const isDue = useRef(true);
  const [, redraw] = useReducer<number, void>((count) => count + 1, 0);
  latest.current = text;

  const start = performance.now();
  const isLong = !isLive && hasFrames && text.length > shown.length + longText;
  const end = isLong ? shown.length + (isDue.current ? portion.next(start) : 0) : text.length;
  if (end < text.length) shown.update(text.slice(0, end), true);
  else if (isDue.current || !isLive || !hasFrames) shown.update(text, isLive);
  const isShowing = view.current?.version !== shown.version;
  if (isShowing) view.current = { version: shown.version, vnode: <DocumentView shown={shown} version={shown.version} id={id} /> };
  isDue.current = false;

  useLayoutEffect(() => {
    if (isShowing && isLive) pace.took(performance.now() - start, shown.length);
    if (!hasFrames || shown.length === latest.current.length) return;
    pace.request(() => {
      isDue.current = true;
      redraw();
    });
  });
  useEffect(() => () => pace.cancel(), []);
  return view.current?.vnode ?? <></>;
}

function DocumentView({ shown, id }: { shown: MarkdownDocument; version: number; id: string }) {
  const root = useRef<HTMLDivElement | null>(null);
  const vnodes = useRef(new WeakMap<object, { key: PageKey; vnode: VNode }>()).current;
  const isOneOfMany = shown.pages.length > 1;
  const pages = shown.pages.map((page, index) => {
    const key: PageKey = { version: page.version, references: shown.references, isOneOfMany };
    const old = vnodes.get(page);
    if (old !== undefined && isSame(old.key, key)) return old.vnode;
    const vnode = <PageView key={index} page={page} id={id} {...key} />;
    vnodes.set(page, { key, vnode });
    return vnode;
  });
  return (
    <div class="markdown" ref={root} onClick={(event) => follow(event, root.current)}>
      {pages}
      {shown.notes.length > 0 && <NotesView notes={shown.notes} count={shown.notes.length} references={shown.references} id={id} />}
    </div>
  );
}

interface PageKey {
  version: number;
  references: References;
  isOneOfMany: boolean;
}

function isSame(a: PageKey, b: PageKey): boolean {
  return a.version === b.version && a.references === b.references && a.isOneOfMany === b.isOneOfMany;
}

/** Follows a footnote mark to its note and back, within this text and without changing the page's address. */
function follow(event: MouseEvent, root: HTMLElement | null): void {
  if (!(event.target instanceof Element)) return;
  const goal = event.target.closest("[data-goto]")?.getAttribute("data-goto") ?? null;
  if (goal === null) return;
  event.preventDefault();
  const place = root?.querySelector(`[data-place="${CSS.escape(goal)}"]`);
  if (!(place instanceof HTMLElement)) return;
  place.scrollIntoView({ block: "center" });
  place.focus({ preventScroll: true });
}
