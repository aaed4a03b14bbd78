import { type Signal, signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { stream } from "../api/completion.ts";
import { explain } from "../api/errors.ts";
import { models } from "../api/server.ts";
import type { Model } from "../api/server_state.ts";
import { texts } from "../texts.ts";
import { announce } from "../ui/announcer.tsx";
import { onFrame } from "../ui/frame.ts";
import { Icon } from "../ui/icons.tsx";
import { Menu } from "../ui/menu.tsx";
import { Topbar } from "../ui/topbar.tsx";

/** What is being worked on stays while other views are looked at. */
const before = signal("");
const after = signal("");
const between = signal("");
const problem = signal<readonly string[]>([]);
const chosen = signal("");
const DEFAULT_TOKENS = 128;
const MAX_TOKENS = 8192;

/** The model writes what stands between two texts. */
export function InfillView() {
  const most = useSignal(DEFAULT_TOKENS);
  const running = useSignal<AbortController | undefined>(undefined);
  const model =
    models.value.find((one) => one.name === chosen.value) ??
    models.value.find((one) => one.canInfill === true) ??
    models.value[0];
  useEffect(() => () => running.peek()?.abort(), []);
  const fill = async () => {
    if (model === undefined) return;
    const abort = new AbortController();
    running.value = abort;
    await fillIn(model, most.value, abort.signal);
    if (running.peek() === abort) running.value = undefined;
  };
  const insert = () => {
    before.value += between.value;
    between.value = "";
  };
  return (
    <>
      <Topbar>
        <h1 class="view-title">{texts.infill.title}</h1>
        {model !== undefined && <InfillModel model={model} />}
      </Topbar>
      <form
        class="view infill"
        onSubmit={(event) => {
          event.preventDefault();
          void fill();
        }}
      >
        <p class="view-detail">{texts.infill.detail}</p>
        {model?.canInfill === false && <CannotInfill model={model} />}
        <Part label={texts.infill.before} text={before} />
        <div class="infill-between" aria-live="off" aria-busy={running.value !== undefined}>
          <h2>{texts.infill.between}</h2>
          {between.value !== "" && <pre dir="auto">{between.value}</pre>}
          {problem.value.length > 0 && (
            <div class="problem" role="alert">
              {problem.value.map((line) => (
                <p key={line}>{line}</p>
              ))}
            </div>
          )}
          <div class="infill-tools">
            {running.value === undefined ? (
              <button
                type="submit"
                class="button button-main"
                disabled={model === undefined || model.canInfill === false}
              >
                {texts.infill.run}
              </button>
            ) : (
              <button type="button" class="button" onClick={() => running.value?.abort()}>
                {texts.infill.stop}
              </button>
            )}
            {between.value !== "" && running.value === undefined && (
              <>
                <button type="button" class="button" onClick={insert}>
                  {texts.infill.insert}
                </button>
                <button type="button" class="button" onClick={() => (between.value = "")}>
                  {texts.infill.discard}
                </button>
              </>
            )}
            <label class="infill-most">
              <span>{texts.infill.maxTokens}</span>
              <input
                type="number"
                min={1}
                max={MAX_TOKENS}
                value={most.value}
                onInput={(event) =>
                  (most.value = Math.max(1, Math.min(MAX_TOKENS, event.currentTarget.valueAsNumber || DEFAULT_TOKENS)))
                }
              />
            </label>
          </div>
        </div>
        <Part label={texts.infill.after} text={after} />
      </form>
    </>
  );
}

async function fillIn(model: Model, most: number, until: AbortSignal): Promise<void> {
  between.value = "";
  problem.value = [];
  let heard = "";
  let isPlanned = false;
  const show = () => {
    isPlanned = false;
    between.value = heard;
  };
  const body = {
    model: model.name,
    input_prefix: before.value,
    input_suffix: after.value,
    prompt: "",
    n_predict: most,
    stream: true,
  };
  try {
    await stream("/infill", body, until, {
      text: (piece) => {
        heard += piece;
        if (isPlanned) return;
        isPlanned = true;
        onFrame(show);
      },
    });
    if (heard === "") problem.value = [texts.infill.empty];
    announce(heard === "" ? texts.infill.empty : texts.infill.filled);
  } catch (error) {
    if (until.aborted) return;
    const { what, todo, detail } = explain(error);
    problem.value = [what, detail, todo].filter((line) => line !== "");
  } finally {
    show();
  }
}

function Part({ label, text }: { label: string; text: Signal<string> }) {
  const area = useRef<HTMLTextAreaElement>(null);
  return (
    <label class="infill-part">
      <span>{label}</span>
      <textarea
        ref={area}
        dir="auto"
        rows={7}
        spellcheck={false}
        value={text.value}
        onInput={(event) => (text.value = event.currentTarget.value)}
      />
    </label>
  );
}

function InfillModel({ model }: { model: Model }) {
  const items = models.value.map((one) => ({
    label: one.name,
    detail: one.canInfill === true ? texts.models.infills : "",
    isChosen: one.name === model.name,
    act: () => (chosen.value = one.name),
  }));
  return (
    <Menu label={`${texts.models.label}: ${model.name}`} items={items} buttonClass="picker">
      <span class={`dot dot-${model.state}`} aria-hidden="true" />
      <span class="picker-name">{model.name}</span>
      <Icon name="down" />
    </Menu>
  );
}

function CannotInfill({ model }: { model: Model }) {
  const able = models.value.filter((one) => one.canInfill === true);
  return (
    <div class="problem">
      <p>{texts.infill.cannot(model.name)}</p>
      {able.length === 0 && <p>{texts.infill.cannotHint}</p>}
      {able.map((one) => (
        <button key={one.name} type="button" class="link" onClick={() => (chosen.value = one.name)}>
          {texts.infill.choose(one.name)}
        </button>
      ))}
    </div>
  );
}
