import { useEffect, useReducer, useRef } from "preact/hooks";

/** Work that is done in steps, each of a few milliseconds at most. */
export type Steps = Generator<void, void>;

/** Work that a frame has time for; what goes beyond it is put off, what is near the view first. */
interface Job {
  isNear: boolean;
  /** Does some of it; whether it is done. */
  run: () => boolean;
}

/** Milliseconds of such work at once. */
const budget = 8;
const canDefer = typeof IntersectionObserver !== "undefined";

let spent = 0;
let isResetDue = false;

/** Takes steps until all are done or there is no time left; true when all are done. */
function advance(steps: Steps, hasTime: () => boolean): boolean {
  let isDone = false;
  do {
    const start = performance.now();
    isDone = steps.next().done === true;
    spent += performance.now() - start;
  } while (!isDone && hasTime());
  resetSoon();
  return isDone;
}

/** What was spent counts until the browser had its turn. */
function resetSoon(): void {
  if (isResetDue) return;
  isResetDue = true;
  setTimeout(() => {
    spent = 0;
    isResetDue = false;
  });
}

const jobs = new Set<Job>();
let isPumpDue = false;

function schedule(): void {
  if (isPumpDue || jobs.size === 0) return;
  isPumpDue = true;
  const isNear = [...jobs].some((job) => job.isNear);
  if (isNear || typeof requestIdleCallback === "undefined") setTimeout(pump, isNear ? 0 : 50);
  else requestIdleCallback(pump, { timeout: 1000 });
}

function pump(): void {
  isPumpDue = false;
  const start = performance.now();
  while (performance.now() - start < budget / 2) {
    const job = [...jobs].find(({ isNear }) => isNear) ?? [...jobs][0];
    if (job === undefined) return;
    if (job.run()) jobs.delete(job);
  }
  schedule();
}

const nearCallbacks = new WeakMap<Element, (isNear: boolean) => void>();
let observer: IntersectionObserver | null = null;

function watch(element: Element, onNear: (isNear: boolean) => void): () => void {
  observer ??= new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) nearCallbacks.get(target)?.(isIntersecting);
    },
    { rootMargin: "600px" },
  );
  const watching = observer;
  nearCallbacks.set(element, onNear);
  watching.observe(element);
  return () => {
    watching.unobserve(element);
    nearCallbacks.delete(element);
  };
}

/** An element once it is there. */
interface Place<E extends HTMLElement> {
  current: E | null;
}

interface Prepared<T, E extends HTMLElement> {
  /** The last value that was prepared for; undefined before the first. */
  value: T | undefined;
  /** The element whose nearness to the view decides what comes first. */
  element: Place<E>;
}

/**
 * Takes the steps of `prepare` for each new value: at once as far as the frame has time or where there is no page to wait for,
 * the others later, with a new rendering after them.
 */
export function usePrepared<T, E extends HTMLElement = HTMLElement>(
  wanted: T,
  prepare: () => Steps,
  isUrgent = false,
): Prepared<T, E> {
  const element = useRef<E | null>(null);
  const value = useRef<T | undefined>(undefined);
  const begun = useRef<{ wanted: T; steps: Steps } | null>(null);
  const latest = useRef(prepare);
  latest.current = prepare;
  const [, redraw] = useReducer<number, void>((count) => count + 1, 0);
  const goOn = (hasTime: () => boolean): boolean => {
    if (begun.current === null || begun.current.wanted !== wanted) begun.current = { wanted, steps: latest.current() };
    if (!advance(begun.current.steps, hasTime)) return false;
    begun.current = null;
    value.current = wanted;
    return true;
  };
  if (value.current !== wanted) {
    if (isUrgent || !canDefer) {
      // What the work was begun for may have grown since.
      begun.current = null;
      goOn(() => true);
    } else if (spent < budget) goOn(() => spent < budget);
  }
  const isDue = value.current !== wanted;
  useEffect(() => {
    if (!isDue || element.current === null) return undefined;
    const job: Job = {
      isNear: false,
      run: () => {
        const start = performance.now();
        const isDone = goOn(() => performance.now() - start < budget / 2);
        if (isDone) redraw();
        return isDone;
      },
    };
    jobs.add(job);
    const unwatch = watch(element.current, (isNear) => {
      job.isNear = isNear;
      schedule();
    });
    schedule();
    return () => {
      jobs.delete(job);
      unwatch();
    };
  }, [isDue, wanted]);
  return { value: value.current, element };
}

/** Whether the element has come near the view. */
export function useNear(element: Place<HTMLElement>, isWanted: boolean): boolean {
  const [isNear, setNear] = useReducer<boolean, boolean>((_, next) => next, false);
  useEffect(() => {
    if (!isWanted || isNear || !canDefer || element.current === null) return undefined;
    return watch(element.current, (now) => {
      if (now) setNear(true);
    });
  }, [isWanted, isNear]);
  return isNear;
}

/** What has nothing to be done beforehand but is put off like the rest. */
export function* nothing(): Steps {}
