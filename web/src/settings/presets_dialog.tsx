import { useSignal } from "@preact/signals";
import { newId } from "../chat/message.ts";
import { current } from "../history/history.ts";
import { texts } from "../texts.ts";
import { Dialog } from "../ui/dialog.tsx";
import { Icon } from "../ui/icons.tsx";
import { DEFAULT_ID, defaultPreset, type Preset } from "./preset.ts";
import { PresetEditor } from "./preset_editor.tsx";
import { presetOf, presets, removePreset, savePreset } from "./presets.ts";
import { settings } from "./settings.ts";

/** Presets: made, changed, copied and deleted. What is changed is saved at once. */
export function PresetsDialog({ onClose }: { onClose: () => void }) {
  const chosen = useSignal(presetOf(current.value.preset.value).id);
  const preset = presetOf(chosen.value);
  const use = (made: Preset) => {
    void savePreset(made);
    chosen.value = made.id;
    current.value.preset.value = made.id;
    settings.preset.value = made.id;
    current.value.onChange(current.value);
  };
  return (
    <Dialog title={texts.presets.title} onClose={onClose} isWide>
      <div class="presets">
        <div class="presets-list">
          <ul>
            {presets.value.map((one) => (
              <li key={one.id}>
                <button
                  type="button"
                  class="presets-item"
                  aria-current={one.id === preset.id}
                  onClick={() => (chosen.value = one.id)}
                >
                  {one.name}
                </button>
              </li>
            ))}
          </ul>
          <button
            type="button"
            class="button"
            onClick={() => use({ ...defaultPreset(), id: newId(), name: texts.presets.newName })}
          >
            <Icon name="plus" />
            {texts.presets.add}
          </button>
        </div>
        <div class="presets-edit">
          <PresetEditor key={preset.id} preset={preset} />
          <div class="editor-foot">
            {preset.id !== DEFAULT_ID && (
              <button
                type="button"
                class="button button-danger"
                onClick={() => {
                  void removePreset(preset.id);
                  chosen.value = DEFAULT_ID;
                }}
              >
                {texts.presets.remove}
              </button>
            )}
            <button
              type="button"
              class="button"
              onClick={() => use({ ...preset, id: newId(), name: texts.presets.copyOf(preset.name) })}
            >
              {texts.presets.duplicate}
            </button>
          </div>
        </div>
      </div>
    </Dialog>
  );
}
