import type { VNode } from "preact";
import { useRef } from "preact/hooks";

interface Kept {
  dependency: unknown;
  vnode: VNode;
}

/** Keeps what was rendered for an object that does not change: Preact skips a vnode that it has seen in the same place. */
export function useKept(): (key: object, dependency: unknown, make: () => VNode) => VNode {
  const kept = useRef(new WeakMap<object, Kept>()).current;
  return (key, dependency, make) => {
    const old = kept.get(key);
    if (old !== undefined && old.dependency === dependency) return old.vnode;
    const vnode = make();
    kept.set(key, { dependency, vnode });
    return vnode;
  };
}
