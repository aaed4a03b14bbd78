import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { modelOf } from "../api/server.ts";
import type { Model } from "../api/server_state.ts";
import { bytes, measured, seconds } from "../format.ts";
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
  // One that nobody asked for a while is loaded or woken by the question, which the server says a moment later.
  if (state?.state === "loading" || state?.state === "unloaded") return <Loading model={state} />;
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

/** How large what is being loaded is, and for how long already; the disk decides how long that takes. */
function Loading({ model }: { model: Model }) {
  const elapsed = useSignal(0);
  useEffect(() => {
    const start = Date.now();
    const timer = setInterval(() => (elapsed.value = Math.round((Date.now() - start) / 1000)), 1000);
    return () => clearInterval(timer);
  }, []);
  return (
    <div class="status status-loading">
      <progress aria-label={texts.status.loadingLabel} />
      <span role="status">{texts.status.loading(model.name, model.bytes === undefined ? "" : bytes(model.bytes))}</span>
      {elapsed.value > 0 && <span aria-hidden="true">{seconds(elapsed.value)}</span>}
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
