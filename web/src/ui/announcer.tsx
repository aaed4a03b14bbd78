import { signal } from "@preact/signals";

const said = signal("");
const MAX_SAID = 600;

/** Has screen readers say something, after what they are saying. */
export function announce(text: string): void {
  const short = text.length > MAX_SAID ? `${text.slice(0, MAX_SAID)}…` : text;
  // The same words twice are a change too.
  said.value = said.value === short ? `${short}\u00A0` : short;
}

/** The region that screen readers listen to. */
export function Announcer() {
  return (
    <div class="unseen" role="status" aria-live="polite" aria-atomic="true">
      {said}
    </div>
  );
}
