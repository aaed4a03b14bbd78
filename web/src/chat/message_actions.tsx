import { useSignal } from "@preact/signals";
import { texts } from "../texts.ts";
import { copy } from "../ui/clipboard.ts";
import { Icon, type IconName } from "../ui/icons.tsx";
import { canContinue, continueAnswer, runs, runsOf } from "./answering.ts";
import { regenerate } from "./conversing.ts";
import { FiguresLine } from "./figures_line.tsx";
import type { Message } from "./message.ts";
import type { Column, Thread } from "./thread.ts";

interface Props {
  thread: Thread;
  column: Column;
  message: Message;
  isLast: boolean;
  onEdit: () => void;
}

export function copyMessage(message: Message): Promise<boolean> {
  return copy(message.text);
}

/** What can be done with a message, and which of its versions is shown. */
export function MessageActions({ thread, column, message, isLast, onEdit }: Props) {
  const isCopied = useSignal(false);
  if (runs.value.has(message.id)) return null;
  const isUser = message.role === "user";
  const isIdle = runsOf(thread).length === 0;
  const onCopy = async () => {
    if (!(await copyMessage(message))) return;
    isCopied.value = true;
    setTimeout(() => (isCopied.value = false), 1500);
  };
  const canGoOn = isLast && canContinue(thread, message);
  return (
    <footer class={isLast ? "message-foot message-foot-last" : "message-foot"}>
      <div class="message-tools" role="group" aria-label={texts.message.actions}>
        <Versions thread={thread} column={column} id={message.id} />
        <Action
          icon={isCopied.value ? "check" : "copy"}
          label={isCopied.value ? texts.common.copied : texts.message.copy}
          act={() => void onCopy()}
        />
        {isIdle && <Action icon="edit" label={texts.message.edit} act={onEdit} />}
        {!isUser && isIdle && (
          <Action icon="again" label={texts.message.regenerate} act={() => regenerate(thread, column, message.id)} />
        )}
        {canGoOn && (
          <Action icon="goOn" label={texts.message.goOn} act={() => continueAnswer(thread, column, message.id)} />
        )}
      </div>
      {message.verdict?.isSafe === true && (
        <span class="verdict" role="img" aria-label={texts.guard.safe} title={texts.guard.safe}>
          <Icon name="shield" />
        </span>
      )}
      {message.figures !== undefined && <FiguresLine figures={message.figures} />}
    </footer>
  );
}

function Action({ icon, label, act }: { icon: IconName; label: string; act: () => void }) {
  return (
    <button type="button" class="icon-button icon-button-small" aria-label={label} title={label} onClick={act}>
      <Icon name={icon} />
    </button>
  );
}

function Versions({ thread, column, id }: { thread: Thread; column: Column; id: string }) {
  void thread.shape.value;
  const versions = thread.tree.siblingsOf(id);
  if (versions.length < 2) return null;
  const at = versions.indexOf(id);
  const show = (index: number) => {
    const other = versions[index];
    if (other !== undefined) thread.show(other, column);
  };
  return (
    <div class="versions" role="group" aria-label={texts.message.versions}>
      <button
        type="button"
        class="icon-button icon-button-small"
        aria-label={texts.message.previous}
        title={texts.message.previous}
        disabled={at === 0}
        onClick={() => show(at - 1)}
      >
        <Icon name="left" />
      </button>
      <span>{texts.message.version(at + 1, versions.length)}</span>
      <button
        type="button"
        class="icon-button icon-button-small"
        aria-label={texts.message.next}
        title={texts.message.next}
        disabled={at === versions.length - 1}
        onClick={() => show(at + 1)}
      >
        <Icon name="right" />
      </button>
    </div>
  );
}
