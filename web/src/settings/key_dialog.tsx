import { useSignal } from "@preact/signals";
import { takeAccessKey } from "../api/access_key.ts";
import { texts } from "../texts.ts";
import { Dialog } from "../ui/dialog.tsx";

/** Asks for the key without which the server says nothing. */
export function KeyDialog({ isRefused }: { isRefused: boolean }) {
  const key = useSignal("");
  return (
    <Dialog title={texts.key.title} onClose={() => {}} canClose={false}>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          if (key.value.trim() !== "") takeAccessKey(key.value);
        }}
      >
        <p>{texts.key.detail}</p>
        {isRefused && (
          <p class="note note-warning" role="alert">
            {texts.key.refused}
          </p>
        )}
        <label class="field">
          <span>{texts.key.label}</span>
          <input
            data-first
            type="password"
            autocomplete="off"
            value={key.value}
            onInput={(event) => (key.value = event.currentTarget.value)}
          />
        </label>
        <div class="editor-foot">
          <button type="submit" class="button button-main" disabled={key.value.trim() === ""}>
            {texts.key.use}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
