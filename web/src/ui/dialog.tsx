import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";
import { texts } from "../texts.ts";
import { Icon } from "./icons.tsx";

interface Props {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  /** Whether it takes as much room as there is. */
  isWide?: boolean;
  /** Whether it can be closed without an answer. */
  canClose?: boolean;
}

/** A dialog over the page: Escape and a press outside close it, and focus goes back to where it was. */
export function Dialog({ title, onClose, children, isWide = false, canClose = true }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useLayoutEffect(() => {
    const before = document.activeElement;
    const element = dialog.current;
    element?.showModal();
    // Where something is asked, the answer is written at once; elsewhere reading begins at the beginning.
    (
      element?.querySelector<HTMLElement>("[data-first]") ?? element?.querySelector<HTMLElement>(".dialog-body")
    )?.focus();
    return () => {
      element?.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      class={isWide ? "dialog dialog-wide" : "dialog"}
      aria-labelledby={heading}
      onCancel={(event) => {
        event.preventDefault();
        if (canClose) onClose();
      }}
      onPointerDown={(event) => {
        if (canClose && event.target === event.currentTarget && isOutside(event, event.currentTarget)) onClose();
      }}
    >
      <header class="dialog-head">
        <h2 id={heading}>{title}</h2>
        {canClose && (
          <button type="button" class="icon-button" aria-label={texts.common.close} onClick={onClose}>
            <Icon name="close" />
          </button>
        )}
      </header>
      <div class="dialog-body" tabIndex={0}>
        {children}
      </div>
    </dialog>
  );
}

function isOutside(event: PointerEvent, element: HTMLElement): boolean {
  const box = element.getBoundingClientRect();
  return event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom;
}
