import { signal, useSignalEffect } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { server, serverToldAt, watch } from "../api/server.ts";
import { bytes, measured, number, roundPercent, seconds } from "../format.ts";
import { texts } from "../texts.ts";
import { Topbar } from "../ui/topbar.tsx";
import { ModelsTable } from "./models_table.tsx";
import { Plot } from "./plot.tsx";
import { type Sample, Samples } from "./samples.ts";

const samples = new Samples();
const shown = signal<readonly Sample[]>([]);

/** How the server is, second by second, as long as somebody looks. */
export function ServerView() {
  useEffect(() => watch(1), []);
  useSignalEffect(() => {
    const state = server.value;
    if (state === undefined || !state.hasFigures) return;
    // What was told before somebody looked is as old as it is.
    samples.add(state, serverToldAt());
    shown.value = [...samples.all];
  });
  const state = server.value;
  return (
    <>
      <Topbar>
        <h1 class="view-title">{texts.server.title}</h1>
        <p class="topbar-end view-detail">
          {state?.version !== undefined && <span>{texts.settings.version(state.version)}</span>}
          {state?.uptimeS !== undefined && <span>{texts.server.uptime(seconds(state.uptimeS))}</span>}
        </p>
      </Topbar>
      <div class="view" tabIndex={-1}>
        {state !== undefined && !state.hasFigures && <p class="note note-warning">{texts.server.noFigures}</p>}
        {state?.hasFigures === true && shown.value.length === 0 && (
          <p class="unseen">{texts.server.waitingForFigures}</p>
        )}
        {state?.hasFigures === true && <Plots budget={state.budgetBytes} />}
        {state !== undefined && <ModelsTable models={state.models} hasFigures={state.hasFigures} />}
      </div>
    </>
  );
}

function Plots({ budget }: { budget: number | undefined }) {
  const all = shown.value;
  const { tokensPerS } = texts.units;
  return (
    <div class="plots">
      <Plot
        title={texts.server.speed}
        samples={all}
        least={10}
        format={(value) => tokensPerS(measured(value))}
        lines={[{ label: texts.server.speed, value: (one) => one.written }]}
      />
      <Plot
        title={texts.server.reading}
        samples={all}
        least={10}
        format={(value) => tokensPerS(measured(value))}
        lines={[{ label: texts.server.reading, value: (one) => one.read }]}
      />
      <Plot
        title={texts.server.firstToken}
        samples={all}
        least={0.1}
        format={seconds}
        lines={[{ label: texts.server.firstToken, value: (one) => one.firstTokenS }]}
      />
      <Plot
        title={texts.server.requests}
        samples={all}
        least={2}
        format={number}
        lines={[
          { label: texts.server.running, value: (one) => one.running },
          { label: texts.server.waiting, value: (one) => one.waiting },
        ]}
      />
      <Plot
        title={texts.server.cache}
        samples={all}
        least={1}
        format={roundPercent}
        lines={[{ label: texts.server.cache, value: (one) => one.cached }]}
      />
      <Plot
        title={texts.server.memory}
        samples={all}
        least={1e6}
        format={bytes}
        {...(budget === undefined ? {} : { detail: texts.server.ofBudget(bytes(budget)) })}
        lines={[{ label: texts.server.memory, value: (one) => one.memoryBytes }]}
      />
    </div>
  );
}
