import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { settings } from "../settings/settings.ts";
import { texts } from "../texts.ts";
import { edit } from "./conversing.ts";
import type { Message } from "./message.ts";
import { fitHeight, sends } from "./text_area.ts";
import type { Column, Thread } from "./thread.ts";

interface Props {
  thread: Thread;
  column: Column;
  message: Message;
  onClose: () => void;
}

/** Says a message in other words, in a branch of its own. */
export function MessageEditor({ thread, column, message, onClose }: Props) {
  const text = useSignal(message.text);
  const area = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => {
    const element = area.current;
    if (element === null) return;
    fitHeight(element);
    element.focus();
    element.setSelectionRange(element.value.length, element.value.length);
  }, []);
  const isUser = message.role === "user";
  const done = () => {
    if (text.value.trim() === "" && message.pictures === undefined) return;
    onClose();
    edit(thread, column, message.id, text.value);
  };
  return (
    <form
      class="editor"
      onSubmit={(event) => {
        event.preventDefault();
        done();
      }}
    >
      <textarea
        ref={area}
        dir="auto"
        aria-label={texts.message.editLabel}
        value={text.value}
        onInput={(event) => {
          text.value = event.currentTarget.value;
          fitHeight(event.currentTarget);
        }}
        onKeyDown={(event) => {
          event.stopPropagation();
          if (event.key === "Escape") onClose();
          else if (sends(event, isUser && settings.enterSends.value)) done();
          else return;
          event.preventDefault();
        }}
      />
      <div class="editor-foot">
        <button type="button" class="button" onClick={onClose}>
          {texts.common.cancel}
        </button>
        <button type="submit" class="button button-main">
          {isUser ? texts.message.sendEdited : texts.message.saveEdited}
        </button>
      </div>
    </form>
  );
}
