import { signal } from "@preact/signals";
import { texts } from "../texts.ts";
import { Icon } from "./icons.tsx";

interface Notice {
  id: number;
  text: string;
  isError: boolean;
  action?: { label: string; act: () => void };
}

const notices = signal<readonly Notice[]>([]);
let count = 0;
const SHOWN_MS = 8000;
const ERROR_MS = 30_000;

/** Shows a short note for a while, an error longer. */
export function notify(
  text: string,
  more: { isError?: boolean; action?: { label: string; act: () => void } } = {},
): void {
  const id = ++count;
  const notice: Notice = { id, text, isError: more.isError ?? false };
  if (more.action !== undefined) notice.action = more.action;
  notices.value = [...notices.value.slice(-2), notice];
  setTimeout(() => close(id), notice.isError ? ERROR_MS : SHOWN_MS);
}

function close(id: number): void {
  notices.value = notices.value.filter((notice) => notice.id !== id);
}

export function Notices() {
  return (
    <section class="notices" aria-label={texts.notices.label} aria-live="polite">
      {notices.value.map((notice) => (
        <div
          key={notice.id}
          class={notice.isError ? "notice notice-error" : "notice"}
          role={notice.isError ? "alert" : undefined}
        >
          <span>{notice.text}</span>
          {notice.action !== undefined && (
            <button
              type="button"
              class="link"
              onClick={() => {
                notice.action?.act();
                close(notice.id);
              }}
            >
              {notice.action.label}
            </button>
          )}
          <button type="button" class="icon-button" aria-label={texts.common.close} onClick={() => close(notice.id)}>
            <Icon name="close" />
          </button>
        </div>
      ))}
    </section>
  );
}
