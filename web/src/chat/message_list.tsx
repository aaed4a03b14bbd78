import { type Signal, signal, useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { texts } from "../texts.ts";
import { Icon } from "../ui/icons.tsx";
import { runsOf } from "./answering.ts";
import { ListWindow, type Range, stepTo } from "./list_window.ts";
import { MessageView } from "./message_view.tsx";
import type { Column, Thread } from "./thread.ts";

interface Props {
  thread: Thread;
  column: Column;
  label: string;
  /** A message to go to. */
  wanted: Signal<string | undefined>;
}

/** Conversations up to this size are there as a whole, so that the browser's own search finds everything. */
const WHOLE_MESSAGES = 40;
const WHOLE_LETTERS = 100_000;
/** How close to the end a reader is at the end, in pixels. */
const NEAR_END = 48;
/** How much beyond what is seen is in the page, in heights of the view. */
const AROUND = 0.75;
/** How many messages come into the page in one frame: each takes some milliseconds. */
const AT_ONCE = 2;
const TYPICAL_HEIGHT = 120;
const TYPICAL_WIDTH = 700;

/** The messages of a column: those near what is seen are in the page, and the view stays where it is when they change. */
export function MessageList({ thread, column, label, wanted }: Props) {
  const scroller = useRef<HTMLDivElement>(null);
  const items = useRef<HTMLDivElement>(null);
  const range = useMemo(() => signal<Range>([0, 0]), [thread, column]);
  const isAtEnd = useSignal(true);
  const lastTop = useRef(0);
  const path = column.path.value;
  const shown = useMemo(() => path.filter((id) => thread.tree.get(id)?.role !== "tool"), [path]);
  const width = useRef(TYPICAL_WIDTH);
  const list = useMemo(() => new ListWindow((id) => guessedHeight(thread, id, width.current)), [thread, column]);
  list.setIds(shown);
  const isWhole = useMemo(() => isSmall(thread, shown), [shown]);
  const [first, last] = clamp(range.value, shown.length);
  const frame = useRef<number | undefined>(undefined);

  /** Looks which messages are near what is seen. */
  const look = () => {
    const element = scroller.current;
    if (element === null) return;
    const { scrollTop, clientHeight, scrollHeight } = element;
    // What grows at the end leaves a reader behind who did not go anywhere: only going back leaves the end.
    if (scrollHeight - scrollTop - clientHeight < NEAR_END) isAtEnd.value = true;
    else if (scrollTop < lastTop.current - 1) isAtEnd.value = false;
    lastTop.current = scrollTop;
    if (frame.current !== undefined) return;
    const around = AROUND * clientHeight;
    const wanted: Range = isWhole ? [0, shown.length] : list.between(scrollTop - around, scrollTop + clientHeight + around);
    const view = list.between(scrollTop, scrollTop + clientHeight);
    const now = clamp(range.peek(), shown.length);
    // What a list needs to know of all its messages is work enough for one frame.
    const isFresh = range.peek()[1] === 0;
    const next = isFresh ? now : stepTo(now, wanted, view, AT_ONCE, isAtEnd.peek());
    if (next[0] !== range.peek()[0] || next[1] !== range.peek()[1]) range.value = next;
    // The rest comes with the next frames.
    if (next[0] === wanted[0] && next[1] === wanted[1]) return;
    frame.current = requestAnimationFrame(() => {
      frame.current = undefined;
      latestLook.current();
    });
  };
  const latestLook = useRef(look);
  latestLook.current = look;
  useEffect(() => () => cancelAnimationFrame(frame.current ?? 0), []);
  const toEnd = () => {
    const element = scroller.current;
    if (element !== null) element.scrollTop = element.scrollHeight;
  };
  const goTo = (id: string) => {
    const place = list.placeOf(id);
    const element = scroller.current;
    if (place < 0 || element === null) return;
    element.scrollTop = Math.max(0, list.topOf(place) - 24);
    isAtEnd.value = false;
    look();
    requestAnimationFrame(() => {
      element.scrollTop = Math.max(0, list.topOf(place) - 24);
      requestAnimationFrame(() => focusArticle(findArticle(items.current, id)));
    });
  };

  useMeasures(scroller, items, list, width, isAtEnd, look);

  // A conversation that is opened is read from its end.
  useLayoutEffect(() => {
    isAtEnd.value = true;
    toEnd();
    look();
    toEnd();
  }, [thread, column, thread.isLoading.value]);
  // Whoever sends a message wants to see the answer.
  useLayoutEffect(() => {
    if (runsOf(thread).length > 0 && thread.tree.get(shown.at(-1) ?? "")?.finish === undefined) isAtEnd.value = true;
    if (isAtEnd.peek()) toEnd();
    look();
  }, [shown]);
  useEffect(() => {
    const id = wanted.value;
    if (id === undefined || list.placeOf(id) < 0) return;
    wanted.value = undefined;
    goTo(id);
  }, [wanted.value, shown]);

  const visible = shown.slice(first, last);
  return (
    <div class="messages-frame">
      <div ref={scroller} class="messages" onScroll={() => look()} onKeyDown={(event) => step(event, list, goTo)}>
        <div class="messages-room" ref={items} role="feed" aria-label={label} aria-busy={runsOf(thread).length > 0}>
          <Space height={list.topOf(first)} />
          {visible.map((id, i) => (
            <MessageView
              key={id}
              thread={thread}
              column={column}
              id={id}
              position={first + i + 1}
              count={shown.length}
              isLast={first + i === shown.length - 1}
            />
          ))}
          <Space height={list.height - list.topOf(last)} />
        </div>
      </div>
      {!isAtEnd.value && shown.length > 0 && (
        <button type="button" class="jump" onClick={toEnd} aria-label={texts.chat.jump} title={texts.chat.jump}>
          <Icon name="end" />
        </button>
      )}
    </div>
  );
}

/** Room for messages that are not in the page. */
function Space({ height }: { height: number }) {
  return <div class="messages-space" role="none" style={{ height: `${Math.max(0, height)}px` }} />;
}

/** Measures messages before they are seen, and keeps what is seen where it is. */
function useMeasures(
  scroller: { current: HTMLDivElement | null },
  items: { current: HTMLDivElement | null },
  list: ListWindow,
  width: { current: number },
  isAtEnd: Signal<boolean>,
  look: () => void,
): void {
  const observer = useRef<ResizeObserver | undefined>(undefined);
  const observed = useRef(new Set<Element>());
  const latest = useRef({ list, look });
  latest.current = { list, look };
  useLayoutEffect(() => {
    width.current = scroller.current?.clientWidth ?? TYPICAL_WIDTH;
    const watching = new ResizeObserver((entries) => {
      const element = scroller.current;
      if (element === null) return;
      const { list: heights, look: lookAgain } = latest.current;
      if (element.clientWidth !== width.current) {
        width.current = element.clientWidth;
        heights.forgetHeights();
      }
      const top = element.scrollTop;
      const anchor = heights.at(top);
      let above = 0;
      for (const entry of entries) {
        const id = entry.target instanceof HTMLElement ? entry.target.dataset["id"] : undefined;
        const place = id === undefined ? -1 : heights.placeOf(id);
        if (id === undefined || place < 0) continue;
        const height = entry.borderBoxSize[0]?.blockSize ?? entry.contentRect.height;
        const change = heights.measure(id, height);
        if (place < anchor) above += change;
      }
      if (isAtEnd.peek()) element.scrollTop = element.scrollHeight;
      else if (above !== 0) element.scrollTop = top + above;
      lookAgain();
    });
    observer.current = watching;
    if (scroller.current !== null) watching.observe(scroller.current);
    return () => watching.disconnect();
  }, []);
  // After each rendering: what is new is measured, what is gone is not.
  useLayoutEffect(() => {
    const now = new Set<Element>(items.current?.querySelectorAll(":scope > article") ?? []);
    for (const element of observed.current) if (!now.has(element)) observer.current?.unobserve(element);
    for (const element of now) if (!observed.current.has(element)) observer.current?.observe(element);
    if (observer.current !== undefined) observed.current = now;
  });
}

function clamp([from, to]: Range, count: number): Range {
  // Whoever opens a conversation reads from its end.
  if (to === 0) return [count, count];
  return [Math.min(from, Math.max(0, count - 1)), Math.min(to, count)];
}

function isSmall(thread: Thread, ids: readonly string[]): boolean {
  if (ids.length > WHOLE_MESSAGES) return false;
  return ids.reduce((sum, id) => sum + (thread.tree.get(id)?.text.length ?? 0), 0) < WHOLE_LETTERS;
}

function guessedHeight(thread: Thread, id: string, width: number): number {
  const message = thread.tree.get(id);
  if (message === undefined) return TYPICAL_HEIGHT;
  const letters = Math.max(20, Math.min(width, 736) / 8);
  const pictures = message.pictures === undefined ? 0 : 200;
  return 72 + pictures + Math.max(1, message.text.length / letters) * 26;
}

function findArticle(within: HTMLElement | null, id: string): HTMLElement | undefined {
  return [...(within?.querySelectorAll<HTMLElement>("article") ?? [])].find((article) => article.dataset["id"] === id);
}

/** Focuses a message, unless something in it has the focus already. */
function focusArticle(article: HTMLElement | undefined): void {
  if (article?.contains(document.activeElement) === false) article.focus({ preventScroll: true });
}

/** Page Up and Page Down, or Alt and arrows, go from message to message, as feeds do. */
function step(event: KeyboardEvent, list: ListWindow, goTo: (id: string) => void): void {
  const isBack = event.key === "PageUp" || (event.altKey && event.key === "ArrowUp");
  const isOn = event.key === "PageDown" || (event.altKey && event.key === "ArrowDown");
  if (!isBack && !isOn) return;
  const article = event.target instanceof Element ? event.target.closest<HTMLElement>("article") : null;
  const place = list.placeOf(article?.dataset["id"] ?? "");
  const id = list.ids[place + (isOn ? 1 : -1)];
  if (place < 0 || id === undefined) return;
  event.preventDefault();
  event.stopPropagation();
  goTo(id);
}
