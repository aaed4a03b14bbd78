import { presetOf, presets } from "../settings/presets.ts";
import { settings } from "../settings/settings.ts";
import { texts } from "../texts.ts";
import { openDialog } from "../ui/dialogs.ts";
import { Icon } from "../ui/icons.tsx";
import { Menu, type MenuItem } from "../ui/menu.tsx";
import type { Thread } from "./thread.ts";

/** Chooses what a conversation begins with. */
export function PresetPicker({ thread }: { thread: Thread }) {
  const chosen = presetOf(thread.preset.value);
  const items: MenuItem[] = presets.value.map((preset) => ({
    label: preset.name,
    detail: preset.system.slice(0, 80),
    isChosen: preset.id === chosen.id,
    act: () => {
      thread.preset.value = preset.id;
      settings.preset.value = preset.id;
      thread.onChange(thread);
    },
  }));
  items.push({ label: texts.presets.edit, icon: "sliders", act: () => openDialog("presets") });
  return (
    <Menu label={`${texts.presets.label}: ${chosen.name}`} items={items} buttonClass="picker picker-quiet">
      <Icon name="sliders" />
      <span class="picker-name">{chosen.name}</span>
    </Menu>
  );
}
