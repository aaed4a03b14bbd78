import { copyText } from "../markdown/clipboard.ts";
import { texts } from "../texts.ts";
import { announce } from "./announcer.tsx";
import { notify } from "./notices.tsx";

/** Copies a text; whether the browser let it. */
export async function copy(text: string): Promise<boolean> {
  const isCopied = await copyText(text, null);
  if (isCopied) announce(texts.common.copied);
  else notify(texts.common.notCopied, { isError: true });
  return isCopied;
}
