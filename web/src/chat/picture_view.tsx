import { useSignal } from "@preact/signals";
import { texts } from "../texts.ts";
import { Dialog } from "../ui/dialog.tsx";

/** A message's pictures; each can be seen large. */
export function Pictures({ urls }: { urls: readonly string[] }) {
  const opened = useSignal<number | undefined>(undefined);
  const large = opened.value === undefined ? undefined : urls[opened.value];
  return (
    <div class="pictures">
      {urls.map((url, i) => (
        <button key={i} type="button" class="picture" onClick={() => (opened.value = i)}>
          <img src={url} alt={texts.message.picture(i + 1)} decoding="async" />
        </button>
      ))}
      {large !== undefined && (
        <Dialog
          title={texts.message.picture((opened.value ?? 0) + 1)}
          isWide
          onClose={() => (opened.value = undefined)}
        >
          <img class="picture-large" src={large} alt={texts.message.picture((opened.value ?? 0) + 1)} />
        </Dialog>
      )}
    </div>
  );
}
