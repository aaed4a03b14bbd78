import { texts } from "../texts.ts";
import { announce } from "./announcer.tsx";
import { notify } from "./notices.tsx";

/** Copies a text; whether the browser let it. */
export async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    announce(texts.common.copied);
    return true;
  } catch {
    notify(texts.common.notCopied, { isError: true });
    return false;
  }
}
