import { useSignal } from "@preact/signals";
import { parseJson } from "../api/json.ts";
import { texts } from "../texts.ts";
import { Icon } from "../ui/icons.tsx";
import { giveResult } from "./answering.ts";
import type { Call, Message } from "./message.ts";
import type { Column, Thread } from "./thread.ts";
import { resultsOf } from "./tool_rounds.ts";
import { isBuiltIn } from "./tools.ts";

interface Props {
  thread: Thread;
  column: Column;
  message: Message;
  isLive: boolean;
}

/** The tools that a message calls, with their results; a person gives those that the page cannot. */
export function ToolCalls({ thread, column, message, isLive }: Props) {
  void thread.shape.value;
  const results = resultsOf(thread, column, message.id);
  return (
    <div class="calls">
      {(message.calls ?? []).map((call, i) => (
        <CallView
          key={i}
          call={call}
          result={results.find((result) => result.callId === call.id)?.text}
          isLive={isLive}
          give={(result) => giveResult(thread, column, message.id, call, result)}
        />
      ))}
    </div>
  );
}

interface CallProps {
  call: Call;
  result: string | undefined;
  isLive: boolean;
  give: (result: string) => void;
}

function CallView({ call, result, isLive, give }: CallProps) {
  const waits = !isLive && result === undefined && !isBuiltIn(call.name);
  return (
    <details class="call" open={waits}>
      <summary>
        <Icon name="tool" />
        <span class="call-name">{isLive ? texts.tools.calling(call.name) : texts.tools.called(call.name)}</span>
        <code class="call-brief">{call.arguments}</code>
        {result !== undefined && <span class="call-result">{result}</span>}
        {waits && <span class="call-waits">{texts.tools.waits}</span>}
      </summary>
      <h4>{texts.tools.arguments}</h4>
      <pre dir="auto">{indented(call.arguments)}</pre>
      {result !== undefined && (
        <>
          <h4>{texts.tools.result}</h4>
          <pre dir="auto">{indented(result)}</pre>
        </>
      )}
      {waits && <GiveResult name={call.name} give={give} />}
    </details>
  );
}

function GiveResult({ name, give }: { name: string; give: (result: string) => void }) {
  const text = useSignal("");
  return (
    <form
      class="editor"
      onSubmit={(event) => {
        event.preventDefault();
        give(text.value);
      }}
    >
      <label>
        <span>{texts.tools.giveLabel(name)}</span>
        <small>{texts.tools.giveHint}</small>
        <textarea
          dir="auto"
          rows={3}
          value={text.value}
          onInput={(event) => (text.value = event.currentTarget.value)}
        />
      </label>
      <div class="editor-foot">
        <button type="submit" class="button button-main">
          {texts.tools.give}
        </button>
      </div>
    </form>
  );
}

function indented(json: string): string {
  const value = parseJson(json);
  return value === undefined || typeof value !== "object" ? json : JSON.stringify(value, undefined, 2);
}
