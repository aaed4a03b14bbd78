/** Makes a text area as high as its text; the style sheet says how high it may be. */
export function fitHeight(area: HTMLTextAreaElement): void {
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight + 2}px`;
}

/** Whether a key sends what is written: Enter, or Ctrl and Enter. A key that ends a composed letter does not. */
export function sends(event: KeyboardEvent, enterSends: boolean): boolean {
  if (event.key !== "Enter" || event.isComposing || event.shiftKey || event.altKey) return false;
  return enterSends || event.ctrlKey || event.metaKey;
}
