import { signal } from "@preact/signals";

export type DialogName = "settings" | "presets" | "keys";

/** The dialog that is open. */
export const dialogOpen = signal<DialogName | undefined>(undefined);

export function openDialog(name: DialogName): void {
  dialogOpen.value = name;
}

export function closeDialog(): void {
  dialogOpen.value = undefined;
}
