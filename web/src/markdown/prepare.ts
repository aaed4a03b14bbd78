import { useEffect, useReducer, useRef } from "preact/hooks";

/** Work that a frame has time for; what goes beyond it is put off, what is near the view first. */
interface Job {
  isNear: boolean;
  run: () => void;
}

/** Milliseconds of such work at once. */
const budget = 8;
const canDefer = typeof IntersectionObserver !== "undefined";

let spent = 0;
let isResetDue = false;

function spend(work: () => void): void {
  const start = performance.now();
  work();
  spent += performance.now() - start;
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
    jobs.delete(job);
    job.run();
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
 * Runs `prepare` for each new value: at once where the frame has time left or there is no page to wait for, else later,
 * with a new rendering after it.
 */
export function usePrepared<T, E extends HTMLElement = HTMLElement>(
  wanted: T,
  prepare: () => void,
  isUrgent = false,
): Prepared<T, E> {
  const element = useRef<E | null>(null);
  const value = useRef<T | undefined>(undefined);
  const latest = useRef(prepare);
  latest.current = prepare;
  const [, redraw] = useReducer<number, void>((count) => count + 1, 0);
  if (value.current !== wanted && (isUrgent || !canDefer || spent < budget)) {
    spend(prepare);
    value.current = wanted;
  }
  const isDue = value.current !== wanted;
  useEffect(() => {
    if (!isDue || element.current === null) return undefined;
    const job: Job = {
      isNear: false,
      run: () => {
        spend(latest.current);
        value.current = wanted;
        redraw();
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
