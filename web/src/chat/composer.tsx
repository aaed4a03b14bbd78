import { useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { modelOf } from "../api/server.ts";
import { settings } from "../settings/settings.ts";
import { texts } from "../texts.ts";
import { Icon } from "../ui/icons.tsx";
import { notify } from "../ui/notices.tsx";
import { modelFor, runsOf, stopAll } from "./answering.ts";
import { ContextMeter } from "./context_meter.tsx";
import { send } from "./conversing.ts";
import { draftOf, keepDraft } from "./drafts.ts";
import { MAX_PICTURES, pictureOf, picturesIn } from "./pictures.ts";
import { fitHeight, sends } from "./text_area.ts";
import type { Thread } from "./thread.ts";

/** The id of the text area, which other parts of the page move the focus to. */
export const COMPOSER_ID = "composer";

export function focusComposer(): void {
  document.getElementById(COMPOSER_ID)?.focus();
}

/** Where a message is written. */
export function Composer({ thread, onEditLast }: { thread: Thread; onEditLast: () => void }) {
  const text = useSignal(draftOf(thread.id));
  const pictures = useSignal<readonly string[]>([]);
  const isOver = useSignal(false);
  const area = useRef<HTMLTextAreaElement>(null);
  const files = useRef<HTMLInputElement>(null);
  const isRunning = runsOf(thread).length > 0;
  const canSee = thread.columns.value.every((column) => modelOf(modelFor(column))?.canSee !== false);
  const hasModel = modelFor(thread.column) !== "";

  useLayoutEffect(() => {
    text.value = draftOf(thread.id);
    pictures.value = [];
  }, [thread]);
  useLayoutEffect(() => {
    if (area.current !== null) fitHeight(area.current);
  }, [text.value]);
  // On phones the keyboard would cover the conversation that was opened.
  useEffect(() => {
    if (!matchMedia("(pointer: coarse)").matches) area.current?.focus();
  }, [thread]);

  const write = (value: string) => {
    text.value = value;
    keepDraft(thread.id, value);
  };
  const attach = async (chosen: readonly File[]) => {
    if (chosen.length === 0) return;
    if (!canSee) return notify(texts.composer.cannotSee, { isError: true });
    for (const file of chosen) {
      if (pictures.value.length >= MAX_PICTURES) return notify(texts.composer.tooMany(MAX_PICTURES), { isError: true });
      try {
        pictures.value = [...pictures.value, await pictureOf(file)];
      } catch {
        notify(texts.composer.notPicture(file.name || texts.composer.pasted), { isError: true });
      }
    }
  };
  const isEmpty = text.value.trim() === "" && pictures.value.length === 0;
  const submit = () => {
    if (isEmpty || isRunning || !hasModel || thread.isLoading.value) return;
    const said = text.value;
    const shown = pictures.value;
    write("");
    pictures.value = [];
    send(thread, said, shown);
    area.current?.focus();
  };
  const onKey = (event: KeyboardEvent) => {
    if (sends(event, settings.enterSends.value)) submit();
    else if (event.key === "Escape" && isRunning) stopAll(thread);
    else if (event.key === "ArrowUp" && text.value === "" && !isRunning) onEditLast();
    else return;
    event.preventDefault();
  };
  return (
    <form
      class={isOver.value ? "composer composer-over" : "composer"}
      aria-label={texts.composer.label}
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
      onDragOver={(event) => {
        if (event.dataTransfer?.types.includes("Files") !== true) return;
        event.preventDefault();
        isOver.value = true;
      }}
      onDragLeave={() => (isOver.value = false)}
      onDrop={(event) => {
        event.preventDefault();
        isOver.value = false;
        void attach(picturesIn(event.dataTransfer));
      }}
    >
      {pictures.value.length > 0 && (
        <ul class="composer-pictures">
          {pictures.value.map((url, i) => (
            <li key={i}>
              <img src={url} alt={texts.composer.picture(i + 1)} />
              <button
                type="button"
                class="icon-button icon-button-small"
                aria-label={texts.composer.removePicture(i + 1)}
                onClick={() => (pictures.value = pictures.value.filter((_, at) => at !== i))}
              >
                <Icon name="close" />
              </button>
            </li>
          ))}
        </ul>
      )}
      <textarea
        ref={area}
        id={COMPOSER_ID}
        rows={1}
        dir="auto"
        aria-label={texts.composer.label}
        placeholder={isOver.value ? texts.composer.dropHere : texts.composer.placeholder}
        value={text.value}
        onInput={(event) => write(event.currentTarget.value)}
        onKeyDown={onKey}
        onPaste={(event) => {
          const pasted = picturesIn(event.clipboardData);
          if (pasted.length === 0) return;
          event.preventDefault();
          void attach(pasted);
        }}
      />
      <div class="composer-foot">
        <input
          ref={files}
          type="file"
          accept="image/*"
          multiple
          hidden
          tabIndex={-1}
          onChange={(event) => {
            void attach([...(event.currentTarget.files ?? [])]);
            event.currentTarget.value = "";
          }}
        />
        <button
          type="button"
          class="icon-button"
          aria-label={texts.composer.attach}
          title={canSee ? texts.composer.attach : texts.composer.cannotSee}
          disabled={!canSee}
          onClick={() => files.current?.click()}
        >
          <Icon name="picture" />
        </button>
        <ContextMeter thread={thread} draft={text.value.length} />
        {isRunning ? (
          <button
            type="button"
            class="send"
            aria-label={texts.composer.stop}
            title={texts.composer.stop}
            onClick={() => stopAll(thread)}
          >
            <Icon name="stop" />
          </button>
        ) : (
          <button
            type="submit"
            class="send"
            aria-label={texts.composer.send}
            title={texts.composer.send}
            disabled={isEmpty || !hasModel}
          >
            <Icon name="send" />
          </button>
        )}
      </div>
    </form>
  );
}
