import { modelOf } from "../api/server.ts";
import { number } from "../format.ts";
import { presetOf } from "../settings/presets.ts";
import { texts } from "../texts.ts";
import { leftOutOf, modelFor, runs } from "./answering.ts";
import { sizeOf } from "./request.ts";
import type { Thread } from "./thread.ts";

/** How much of the model's context a conversation takes: as the server counted, and guessed for what came after. */
export function ContextMeter({ thread, draft }: { thread: Thread; draft: number }) {
  const { column } = thread;
  const context = modelOf(modelFor(column))?.context;
  const leaf = column.path.value.at(-1);
  // The answer that is coming counts as it grows.
  const run = leaf === undefined ? undefined : runs.value.get(leaf);
  void run?.writer.progress.value;
  const system = presetOf(thread.preset.value).system.length;
  const back = leaf === undefined ? [] : thread.tree.backFrom(leaf);
  const { used } = sizeOf(back, system, draft);
  const leftOut = leaf === undefined ? 0 : leftOutOf(thread, leaf);
  if (context === undefined || context === 0) return <span class="context" title={texts.context.unknown} />;
  const share = Math.min(1, used / context);
  const state = share > 0.9 ? "context context-full" : share > 0.7 ? "context context-high" : "context";
  const said = texts.context.used(number(used), number(context));
  return (
    <div
      class={state}
      title={share > 0.9 ? texts.context.nearlyFull : texts.context.title(number(used), number(context))}
    >
      <span
        class="context-bar"
        role="meter"
        aria-label={texts.context.label}
        aria-valuemin={0}
        aria-valuemax={context}
        aria-valuenow={Math.min(used, context)}
        aria-valuetext={said}
      >
        <span style={{ inlineSize: `${share * 100}%` }} />
      </span>
      <span class="context-said" dir="ltr">
        {said}
      </span>
      {leftOut > 0 && (
        <span class="context-left" dir="auto">
          {texts.context.leftOutShort(leftOut)}
        </span>
      )}
    </div>
  );
}
