import { useSignal } from "@preact/signals";
import { useId } from "preact/hooks";
import { number } from "../format.ts";
import { texts } from "../texts.ts";
import { DEFAULT_ID, type Preset, RANGES, type Sampling, SAMPLING_KEYS, schemaProblem } from "./preset.ts";
import { savePreset } from "./presets.ts";
import { ToolsEditor } from "./tools_editor.tsx";

/** All fields of a preset. */
export function PresetEditor({ preset }: { preset: Preset }) {
  const change = (part: Partial<Preset>) => void savePreset({ ...preset, ...part });
  const schema = useSignal(preset.schema);
  const problem = schemaProblem(schema.value);
  const about = useId();
  return (
    <div class="form">
      {preset.id !== DEFAULT_ID && (
        <label class="field">
          <span>{texts.presets.name}</span>
          <input
            dir="auto"
            value={preset.name}
            maxLength={80}
            onInput={(event) => {
              if (event.currentTarget.value.trim() !== "") change({ name: event.currentTarget.value });
            }}
          />
        </label>
      )}
      <label class="field">
        <span>{texts.presets.system}</span>
        <small>{texts.presets.systemHint}</small>
        <textarea
          dir="auto"
          rows={4}
          value={preset.system}
          onInput={(event) => change({ system: event.currentTarget.value })}
        />
      </label>
      <fieldset class="field">
        <legend>{texts.presets.sampling}</legend>
        <div class="numbers">
          {SAMPLING_KEYS.map((key) => (
            <NumberField
              key={key}
              name={key}
              value={preset.sampling[key]}
              onChange={(sampling) => change({ sampling: withNumber(preset.sampling, key, sampling) })}
            />
          ))}
        </div>
      </fieldset>
      <label class="field">
        <span>{texts.presets.stop}</span>
        <small>{texts.presets.stopHint}</small>
        <textarea
          rows={2}
          dir="auto"
          spellcheck={false}
          value={preset.stop.join("\n")}
          onChange={(event) =>
            change({
              stop: event.currentTarget.value
                .split("\n")
                .filter((line) => line !== "")
                .slice(0, 32),
            })
          }
        />
      </label>
      <label class="field">
        <span>{texts.presets.schema}</span>
        <small>{texts.presets.schemaHint}</small>
        <textarea
          class="code"
          rows={3}
          spellcheck={false}
          dir="ltr"
          value={schema.value}
          aria-invalid={problem !== ""}
          aria-describedby={about}
          onInput={(event) => {
            schema.value = event.currentTarget.value;
            if (schemaProblem(schema.value) === "") change({ schema: schema.value });
          }}
        />
        <small id={about} class="field-problem">
          {problem}
        </small>
      </label>
      <ToolsEditor tools={preset.tools} onChange={(tools) => change({ tools })} />
    </div>
  );
}

function withNumber(sampling: Sampling, key: keyof Sampling, value: number | undefined): Sampling {
  const changed = { ...sampling };
  if (value === undefined) delete changed[key];
  else changed[key] = value;
  return changed;
}

interface NumberProps {
  name: keyof Sampling;
  value: number | undefined;
  onChange: (value: number | undefined) => void;
}

function NumberField({ name, value, onChange }: NumberProps) {
  const written = useSignal(value === undefined ? "" : String(value));
  const { least, most, step } = RANGES[name];
  const { label, hint } = texts.presets.fields[name];
  const given = Number(written.value);
  const isWrong =
    written.value !== "" &&
    !(Number.isFinite(given) && given >= least && given <= most && (step < 1 || Number.isInteger(given)));
  const about = useId();
  return (
    <label class="number" title={hint}>
      <span>{label}</span>
      <input
        type="number"
        inputMode="decimal"
        min={least}
        max={most}
        step={step}
        placeholder={texts.presets.automatic}
        value={written.value}
        aria-invalid={isWrong}
        aria-describedby={about}
        onInput={(event) => {
          written.value = event.currentTarget.value;
          const next = written.value === "" ? undefined : Number(written.value);
          if (next === undefined || (next >= least && next <= most && (step < 1 || Number.isInteger(next))))
            onChange(next);
        }}
      />
      <small id={about} class={isWrong ? "field-problem" : undefined}>
        {isWrong ? texts.presets.outOfRange(number(least), number(most)) : hint}
      </small>
    </label>
  );
}
