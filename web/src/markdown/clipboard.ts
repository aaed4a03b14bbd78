/** Copies the text; where the browser refuses, selects `fallback` for the user to copy, and says so with false. */
export async function copyText(text: string, fallback: HTMLElement | null): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return fallback !== null && copySelection(fallback);
  }
}

/** Pages that do not come over HTTPS have no clipboard of their own, but a command may still copy what is selected. */
function copySelection(element: HTMLElement): boolean {
  const selection = getSelection();
  if (selection === null) return false;
  selection.selectAllChildren(element);
  const isCopied = document.execCommand("copy");
  if (isCopied) selection.removeAllRanges();
  return isCopied;
}
