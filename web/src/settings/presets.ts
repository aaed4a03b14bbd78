import { computed, signal } from "@preact/signals";
import type { Store } from "../history/store.ts";
import { DEFAULT_ID, defaultPreset, type Preset } from "./preset.ts";

const kept = signal<readonly Preset[]>([]);
let store: Store | undefined;

/** All presets by their names, the default first. */
export const presets = computed<readonly Preset[]>(() => {
  const own = kept.value.filter((preset) => preset.id !== DEFAULT_ID).toSorted((a, b) => a.name.localeCompare(b.name));
  return [kept.value.find((preset) => preset.id === DEFAULT_ID) ?? defaultPreset(), ...own];
});

export function presetOf(id: string): Preset {
  return presets.value.find((preset) => preset.id === id) ?? presets.value[0] ?? defaultPreset();
}

export async function loadPresets(from: Store): Promise<void> {
  store = from;
  kept.value = await from.presets();
}

export async function savePreset(preset: Preset): Promise<void> {
  kept.value = [...kept.value.filter((other) => other.id !== preset.id), preset];
  await store?.savePreset(preset);
}

export async function removePreset(id: string): Promise<void> {
  kept.value = kept.value.filter((preset) => preset.id !== id);
  await store?.removePreset(id);
}
