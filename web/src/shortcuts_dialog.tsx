import { SHORTCUTS, type Shortcut } from "./shortcuts.ts";
import { texts } from "./texts.ts";
import { Dialog } from "./ui/dialog.tsx";

/** The list of all keys. */
export function ShortcutsDialog({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title={texts.shortcuts.title} onClose={onClose} isWide>
      <div class="shortcuts">
        {SHORTCUTS.map((group) => (
          <section key={group.title}>
            <h3>{group.title}</h3>
            <dl>
              {group.list.map((shortcut) => (
                <div key={shortcut.does} class="shortcut">
                  <dt>{shortcut.does}</dt>
                  <dd>
                    <Keys shortcut={shortcut} />
                  </dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
    </Dialog>
  );
}

function Keys({ shortcut }: { shortcut: Shortcut }) {
  return (
    <>
      {shortcut.keys.map((together, i) => (
        <span key={i} class="keys">
          {i > 0 && <span class="keys-or">{texts.shortcuts.or}</span>}
          {together.map((key) => (
            <kbd key={key}>{key}</kbd>
          ))}
        </span>
      ))}
    </>
  );
}
