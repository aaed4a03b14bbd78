import type { Signal } from "@preact/signals";
import { useId, useRef } from "preact/hooks";
import { accessKey, takeAccessKey } from "../api/access_key.ts";
import { guard, server } from "../api/server.ts";
import { exportJson, importFile } from "../history/files.ts";
import { texts } from "../texts.ts";
import { Dialog } from "../ui/dialog.tsx";
import { Icon } from "../ui/icons.tsx";
import { settings } from "./settings.ts";

/** What a person may choose for this browser. */
export function SettingsDialog({ onClose }: { onClose: () => void }) {
  const file = useRef<HTMLInputElement>(null);
  const judge = guard.value;
  const version = server.value?.version;
  return (
    <Dialog title={texts.settings.title} onClose={onClose}>
      <div class="form">
        <Choice label={texts.settings.theme} value={settings.theme} options={texts.settings.themes} />
        <Choice label={texts.settings.direction} value={settings.direction} options={texts.settings.directions} />
        <Switch label={texts.settings.enterSends} hint={texts.settings.enterSendsHint} value={settings.enterSends} />
        <Switch label={texts.settings.singleKeys} value={settings.singleKeys} />
        <Switch
          label={texts.probabilities.toggle}
          hint={texts.probabilities.notRecorded}
          value={settings.probabilities}
        />
        {judge !== undefined && <Switch label={texts.settings.guardChecks(judge.name)} value={settings.guardChecks} />}
        <label class="field">
          <span>{texts.settings.key}</span>
          <small>{texts.settings.keyHint}</small>
          <input
            type="password"
            autocomplete="off"
            value={accessKey.value}
            onChange={(event) => takeAccessKey(event.currentTarget.value)}
          />
        </label>
        <div class="field" role="group" aria-label={texts.settings.history}>
          <span>{texts.settings.history}</span>
          <div class="field-buttons">
            <button type="button" class="button" onClick={() => void exportJson()}>
              <Icon name="save" />
              {texts.settings.exportAll}
            </button>
            <button type="button" class="button" onClick={() => file.current?.click()}>
              <Icon name="load" />
              {texts.settings.importFile}
            </button>
            <input
              ref={file}
              type="file"
              accept="application/json,.json"
              hidden
              aria-label={texts.settings.importFile}
              onChange={(event) => {
                const chosen = event.currentTarget.files?.[0];
                event.currentTarget.value = "";
                if (chosen !== undefined) void importFile(chosen);
              }}
            />
          </div>
        </div>
        {version !== undefined && <p class="form-foot">{texts.settings.version(version)}</p>}
      </div>
    </Dialog>
  );
}

function Choice<T extends string>({
  label,
  value,
  options,
}: {
  label: string;
  value: Signal<T>;
  options: Readonly<Record<T, string>>;
}) {
  const name = useId();
  return (
    <fieldset class="field choice">
      <legend>{label}</legend>
      <div class="segments">
        {(Object.keys(options) as T[]).map((option) => (
          <label key={option}>
            <input type="radio" name={name} checked={value.value === option} onChange={() => (value.value = option)} />
            <span>{options[option]}</span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}

function Switch({ label, hint, value }: { label: string; hint?: string; value: Signal<boolean> }) {
  return (
    <label class="switch">
      <span>
        {label}
        {hint !== undefined && <small>{hint}</small>}
      </span>
      <input
        type="checkbox"
        role="switch"
        checked={value.value}
        onChange={(event) => (value.value = event.currentTarget.checked)}
      />
    </label>
  );
}
