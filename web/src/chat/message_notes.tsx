import { useComputed } from "@preact/signals";
import { texts } from "../texts.ts";
import { answer, canContinue, continueAnswer, runsOf } from "./answering.ts";
import { regenerate } from "./conversing.ts";
import { isWrittenElsewhere } from "./elsewhere.ts";
import type { Message } from "./message.ts";
import { Note } from "./note.tsx";
import type { Column, Thread } from "./thread.ts";
import { openCalls, resultsOf, roundsBefore } from "./tool_rounds.ts";
import { MAX_ROUNDS } from "./tools.ts";

interface Props {
  thread: Thread;
  column: Column;
  message: Message;
  isLive: boolean;
  isLast: boolean;
}

/** What is to be said about a message: how it ended, what went wrong, what the guard thinks. */
export function MessageNotes({ thread, column, message, isLive, isLast }: Props) {
  const elsewhere = useComputed(() => isWrittenElsewhere(message.id)).value;
  const isIdle = runsOf(thread).length === 0;
  const { verdict, leftOut } = message;
  const canGoOn = isLast && canContinue(thread, message);
  return (
    <>
      {!isLive && message.role === "assistant" && (
        <Ending message={message} isElsewhere={elsewhere}>
          {isLast && isIdle && message.finish === "failed" && (
            <button
              type="button"
              class="link"
              onClick={() =>
                message.text === ""
                  ? regenerate(thread, column, message.id)
                  : continueAnswer(thread, column, message.id)
              }
            >
              {texts.common.retry}
            </button>
          )}
          {canGoOn && message.finish !== "failed" && !elsewhere && (
            <button type="button" class="link" onClick={() => continueAnswer(thread, column, message.id)}>
              {texts.message.goOn}
            </button>
          )}
        </Ending>
      )}
      {leftOut !== undefined && leftOut > leftOutBefore(thread, message) && (
        <Note icon="warning" text={texts.context.leftOut(leftOut)} />
      )}
      {isLast && isIdle && <RoundsNote thread={thread} column={column} message={message} />}
      {verdict?.isSafe === false && (
        <Note icon="warning" isWarning text={texts.guard.unsafe(verdict.categories.join(", "))} />
      )}
    </>
  );
}

/** How many messages the answer before left out: only more of them are news. */
function leftOutBefore(thread: Thread, message: Message): number {
  for (const before of thread.tree.backFrom(message.parent)) {
    if (before.role === "assistant") return before.leftOut ?? 0;
  }
  return 0;
}

function Ending({
  message,
  isElsewhere,
  children,
}: {
  message: Message;
  isElsewhere: boolean;
  children: preact.ComponentChildren;
}) {
  if (message.finish === "failed") {
    return (
      <div class="problem" role="group">
        {(message.problem ?? texts.errors.unexpected.what).split("\n").map((line, i) => (
          <p key={i}>{line}</p>
        ))}
        {children}
      </div>
    );
  }
  const said = endingOf(message, isElsewhere);
  if (said === undefined) return null;
  return (
    <p class="note">
      <span>{said}</span> {children}
    </p>
  );
}

function endingOf(message: Message, isElsewhere: boolean): string | undefined {
  if (message.finish === "stopped") return texts.message.stopped;
  if (message.finish === "length") return texts.message.length;
  if (message.finish === undefined) return isElsewhere ? texts.message.writtenElsewhere : texts.message.interrupted;
  return undefined;
}

/** After many calls in a row a person says whether it goes on. */
function RoundsNote({ thread, column, message }: { thread: Thread; column: Column; message: Message }) {
  if ((message.calls?.length ?? 0) === 0 || openCalls(thread, column, message.id).length > 0) return null;
  const rounds = roundsBefore(thread, message.id);
  const last = resultsOf(thread, column, message.id).at(-1);
  if (rounds < MAX_ROUNDS || last === undefined) return null;
  return (
    <p class="note">
      <span>{texts.tools.tooMany(rounds)}</span>{" "}
      <button type="button" class="link" onClick={() => answer(thread, column, last.id)}>
        {texts.tools.goOn}
      </button>
    </p>
  );
}
