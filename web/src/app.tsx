import { effect, signal, untracked } from "@preact/signals";
import { useErrorBoundary } from "preact/hooks";
import { keyWanted } from "./api/access_key.ts";
import { reachable } from "./api/reachable.ts";
import { ChatView } from "./chat/chat_view.tsx";
import { ServerView } from "./figures/server_view.tsx";
import { beginConversation, conversationOf, current, openConversation } from "./history/history.ts";
import { InfillView } from "./infill/infill_view.tsx";
import { KeyDialog } from "./settings/key_dialog.tsx";
import { PresetsDialog } from "./settings/presets_dialog.tsx";
import { SettingsDialog } from "./settings/settings_dialog.tsx";
import { ShortcutsDialog } from "./shortcuts_dialog.tsx";
import { texts } from "./texts.ts";
import { announce, Announcer } from "./ui/announcer.tsx";
import { closeDialog, dialogOpen } from "./ui/dialogs.ts";
import { notify, Notices } from "./ui/notices.tsx";
import { Sidebar } from "./ui/sidebar.tsx";
import { addressOf, place, renamePlace } from "./ui/views.ts";

/** A message that was searched for and is to be shown. */
const wanted = signal<string | undefined>(undefined);

/** Has the conversation of the address open, and the address say which one is. Called once, after the history was opened. */
export function followConversation(): void {
  effect(() => {
    const { view, conversation } = place.value;
    if (view !== "chat") return;
    untracked(() => {
      if (conversation !== undefined) void open(conversation);
      else if (conversationOf(current.value.id) !== undefined) beginConversation();
    });
  });
  effect(() => {
    const thread = current.value;
    void thread.shape.value;
    const { view, conversation } = place.peek();
    if (view === "chat" && conversation === undefined && thread.tree.size > 0) renamePlace(addressOf(thread.id));
  });
  let wasReachable = true;
  effect(() => {
    if (reachable.value && !wasReachable) announce(texts.connection.up);
    wasReachable = reachable.value;
  });
  effect(() => {
    const title = conversationOf(current.value.id)?.title;
    document.title = title === undefined || place.value.view !== "chat" ? texts.name : `${title} – ${texts.name}`;
  });
}

async function open(id: string): Promise<void> {
  if (await openConversation(id)) {
    const message = wanted.peek();
    if (message !== undefined) showMessage(message);
    return;
  }
  notify(texts.history.gone);
  renamePlace("#");
}

/** Shows a message, in whichever branch it is; a tool's result is shown with what called it. */
function showMessage(id: string): void {
  const thread = current.peek();
  const shown = [...thread.tree.backFrom(id)].find((message) => message.role !== "tool");
  if (shown === undefined) return;
  wanted.value = shown.id;
  if (!thread.column.path.peek().includes(id)) thread.show(id, thread.column);
}

export function App() {
  const [error] = useErrorBoundary();
  if (error !== undefined && error !== null) return <Crashed error={error} />;
  return (
    <div class="app">
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          document.getElementById("main")?.focus();
        }}
      >
        {texts.common.skip}
      </a>
      <Sidebar
        onHit={(hit) => {
          wanted.value = hit.message;
          if (hit.message !== undefined && hit.conversation === current.peek().id) showMessage(hit.message);
        }}
      />
      <main id="main" class="main" tabIndex={-1}>
        <Connection />
        <CurrentView />
      </main>
      <Dialogs />
      <Notices />
      <Announcer />
    </div>
  );
}

function CurrentView() {
  const { view } = place.value;
  if (view === "infill") return <InfillView />;
  if (view === "server") return <ServerView />;
  return <ChatView wanted={wanted} />;
}

function Dialogs() {
  const open = dialogOpen.value;
  return (
    <>
      {open === "settings" && <SettingsDialog onClose={closeDialog} />}
      {open === "presets" && <PresetsDialog onClose={closeDialog} />}
      {open === "keys" && <ShortcutsDialog onClose={closeDialog} />}
      {keyWanted.value !== "no" && <KeyDialog isRefused={keyWanted.value === "refused"} />}
    </>
  );
}

/** Says that the server does not answer, as long as it does not. */
function Connection() {
  if (reachable.value) return null;
  return (
    <div class="connection" role="alert">
      <strong>{texts.connection.down}</strong> <span>{texts.connection.downHint}</span>
    </div>
  );
}

function Crashed({ error }: { error: unknown }) {
  return (
    <main class="greeting">
      <div role="alert">
        <h1>{texts.errors.crashed.what}</h1>
        <p>{texts.errors.crashed.todo}</p>
        <pre>{error instanceof Error ? error.message : String(error)}</pre>
      </div>
      <button type="button" class="button button-main" onClick={() => location.reload()}>
        {texts.common.reload}
      </button>
    </main>
  );
}
