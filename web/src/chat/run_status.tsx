import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { modelOf } from "../api/server.ts";
import { measured } from "../format.ts";
import { texts } from "../texts.ts";
import type { Run } from "./answering.ts";

/** What is happening with an answer while it is on its way. */
export function RunStatusView({ run, model }: { run: Run; model: string }) {
  const status = run.status.value;
  if (status.kind === "writing") return <Speed run={run} />;
  if (status.kind === "busy") return <Busy until={status.until} />;
  if (status.kind === "reconnecting") return <Waiting text={texts.status.reconnecting} onStop={() => run.stop()} />;
  if (status.kind === "key") return <Waiting text={texts.status.key} onStop={() => run.stop()} />;
  return <Preparing model={model} />;
}

function Speed({ run }: { run: Run }) {
  const { tokensPerS } = run.writer.progress.value;
  if (tokensPerS === undefined) return null;
  return <p class="figures-line figures-live">{texts.units.tokensPerS(measured(tokensPerS))}</p>;
}

function Preparing({ model }: { model: string }) {
  const state = modelOf(model);
  if (state?.state === "loading") {
    return (
      <div class="status" role="status">
        <span>{texts.status.loading(model)}</span>
      </div>
    );
  }
  const waiting = state?.counts?.waiting ?? 0;
  return (
    <div class="status">
      <span class="dots" aria-hidden="true">
        <i />
        <i />
        <i />
      </span>
      <span>{waiting > 0 ? texts.status.queued(waiting) : texts.status.waiting}</span>
    </div>
  );
}

function Waiting({ text, onStop }: { text: string; onStop: () => void }) {
  return (
    <div class="status status-wait" role="status">
      <span class="dots" aria-hidden="true">
        <i />
        <i />
        <i />
      </span>
      <span>{text}</span>
      <button type="button" class="link" onClick={onStop}>
        {texts.composer.stop}
      </button>
    </div>
  );
}

function Busy({ until }: { until: number }) {
  const left = useSignal(secondsTo(until));
  useEffect(() => {
    left.value = secondsTo(until);
    const timer = setInterval(() => (left.value = secondsTo(until)), 500);
    return () => clearInterval(timer);
  }, [until]);
  return (
    <div class="status status-wait">
      <span>{texts.status.busy(left.value)}</span>
    </div>
  );
}

function secondsTo(until: number): number {
  return Math.max(0, Math.ceil((until - Date.now()) / 1000));
}
