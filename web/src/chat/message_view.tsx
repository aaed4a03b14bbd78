import { useComputed } from "@preact/signals";
import { useRef } from "preact/hooks";
import { moment, time } from "../format.ts";
import { settings } from "../settings/settings.ts";
import { texts } from "../texts.ts";
import { AnswerText } from "./answer_text.tsx";
import { canContinue, continueAnswer, runs, runsOf } from "./answering.ts";
import { copyMessage, MessageActions } from "./message_actions.tsx";
import { editing } from "./editing.ts";
import { MessageEditor } from "./message_editor.tsx";
import { MessageNotes } from "./message_notes.tsx";
import type { Message } from "./message.ts";
import { regenerate } from "./conversing.ts";
import { Pictures } from "./picture_view.tsx";
import { RunStatusView } from "./run_status.tsx";
import type { Column, Thread } from "./thread.ts";
import { TokenView } from "./token_view.tsx";
import { ToolCalls } from "./tool_calls.tsx";
import { UserText } from "./user_text.tsx";

interface Props {
  thread: Thread;
  column: Column;
  id: string;
  position: number;
  count: number;
  isLast: boolean;
}

/** One message, with all that can be done with it. */
export function MessageView({ thread, column, id, position, count, isLast }: Props) {
  const isEditing = useComputed(() => editing.value === id).value;
  const article = useRef<HTMLElement>(null);
  const message = thread.message(id)?.value;
  if (message === undefined) return null;
  const run = runs.value.get(id);
  const isUser = message.role === "user";
  const label = isUser
    ? texts.message.byYou(time(message.at))
    : texts.message.byModel(message.model ?? texts.message.assistant, time(message.at));
  const stopEditing = () => {
    editing.value = undefined;
    article.current?.focus({ preventScroll: true });
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.target !== article.current || event.ctrlKey || event.metaKey || event.altKey) return;
    const isIdle = runsOf(thread).length === 0;
    if (event.key === "c") void copyMessage(message);
    else if (event.key === "e" && isIdle) editing.value = id;
    else if (event.key === "r" && isIdle && !isUser) regenerate(thread, column, id);
    else if (event.key === "g" && isLast && canContinue(thread, message)) continueAnswer(thread, column, id);
    else if (event.key === "ArrowLeft" || event.key === "ArrowRight") switchVersion(event, thread, column, message);
    else return;
    event.preventDefault();
  };
  return (
    <article
      ref={article}
      class={isUser ? "message message-user" : "message message-assistant"}
      data-id={id}
      tabIndex={-1}
      aria-label={label}
      aria-posinset={position}
      aria-setsize={count}
      aria-busy={run !== undefined}
      onKeyDown={onKey}
    >
      <h2 class={isUser ? "unseen" : "message-head"} title={moment(message.at)}>
        {isUser ? texts.message.you : (message.model ?? texts.message.assistant)}
      </h2>
      {message.pictures !== undefined && <Pictures urls={message.pictures} />}
      {isEditing ? (
        <MessageEditor thread={thread} column={column} message={message} onClose={stopEditing} />
      ) : (
        <MessageText thread={thread} column={column} message={message} isLive={run !== undefined} />
      )}
      {message.calls !== undefined && (
        <ToolCalls thread={thread} column={column} message={message} isLive={run !== undefined} />
      )}
      {run !== undefined && <RunStatusView run={run} model={message.model ?? ""} />}
      <MessageNotes thread={thread} column={column} message={message} isLive={run !== undefined} isLast={isLast} />
      {!isEditing && (
        <MessageActions
          thread={thread}
          column={column}
          message={message}
          isLast={isLast}
          onEdit={() => {
            editing.value = id;
          }}
        />
      )}
    </article>
  );
}

function switchVersion(event: KeyboardEvent, thread: Thread, column: Column, message: Message): void {
  const versions = thread.tree.siblingsOf(message.id);
  const isBack = (event.key === "ArrowLeft") !== (document.documentElement.dir === "rtl");
  const other = versions[versions.indexOf(message.id) + (isBack ? -1 : 1)];
  if (other === undefined) return;
  thread.show(other, column);
  const feed = event.target instanceof Element ? event.target.closest("[role=feed]") : null;
  requestAnimationFrame(() => {
    const shown = [...(feed?.querySelectorAll<HTMLElement>("article") ?? [])].find(
      (article) => article.dataset["id"] === other,
    );
    shown?.focus({ preventScroll: true });
  });
}

interface TextProps {
  thread: Thread;
  column: Column;
  message: Message;
  isLive: boolean;
}

function MessageText({ thread, column, message, isLive }: TextProps) {
  if (message.role === "user") return <UserText text={message.text} />;
  if (settings.probabilities.value && message.tokens !== undefined) {
    return <TokenView thread={thread} column={column} message={message} tokens={message.tokens} isLive={isLive} />;
  }
  return message.text === "" ? null : <AnswerText text={message.text} isLive={isLive} />;
}
