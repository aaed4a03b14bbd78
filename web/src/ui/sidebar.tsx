import { useEffect, useRef } from "preact/hooks";
import { beginConversation } from "../history/history.ts";
import { HistoryPanel } from "../history/history_panel.tsx";
import type { Hit } from "../history/searching.ts";
import { settings } from "../settings/settings.ts";
import { texts } from "../texts.ts";
import { openDialog } from "./dialogs.ts";
import { isDrawerOpen, isNarrow } from "./drawer.ts";
import { Icon, type IconName } from "./icons.tsx";
import { Logo } from "./logo.tsx";
import { go, place, type View } from "./views.ts";

/** Begins a conversation, wherever one is. */
export function newChat(): void {
  beginConversation();
  go("#");
  isDrawerOpen.value = false;
}

/** Conversations and views; on a narrow screen a drawer over the page. */
export function Sidebar({ onHit }: { onHit: (hit: Hit) => void }) {
  const side = useRef<HTMLElement>(null);
  const isOpen = isDrawerOpen.value;
  const close = () => {
    isDrawerOpen.value = false;
    if (!isNarrow()) settings.sidebar.value = false;
  };
  const leave = () => (isDrawerOpen.value = false);
  // A drawer takes the focus, and gives it back.
  useEffect(() => {
    if (!isOpen || !isNarrow()) return;
    const before = document.activeElement;
    side.current?.querySelector<HTMLElement>("button")?.focus();
    return () => {
      if (before instanceof HTMLElement) before.focus();
    };
  }, [isOpen]);
  return (
    <>
      {isOpen && <div class="curtain" onClick={leave} />}
      <nav
        ref={side}
        class={isOpen ? "sidebar sidebar-open" : "sidebar"}
        data-shown={settings.sidebar.value}
        aria-label={texts.nav.label}
        onKeyDown={(event) => {
          if (event.key === "Escape" && isOpen) leave();
        }}
      >
        <div class="sidebar-head">
          <Logo />
          <span class="sidebar-name">{texts.name}</span>
          <button
            type="button"
            class="icon-button"
            aria-label={texts.nav.close}
            title={texts.nav.close}
            onClick={close}
          >
            <Icon name={isOpen ? "close" : "panel"} />
          </button>
        </div>
        <button type="button" class="new-chat" onClick={newChat}>
          <Icon name="plus" />
          <span>{texts.nav.newChat}</span>
        </button>
        <HistoryPanel
          onOpen={leave}
          onHit={(hit) => {
            onHit(hit);
            leave();
          }}
        />
        <ul class="sidebar-foot" aria-label={texts.nav.views}>
          <ViewLink view="infill" icon="infill" label={texts.nav.infill} onOpen={leave} />
          <ViewLink view="server" icon="chart" label={texts.nav.figures} onOpen={leave} />
          <li>
            <button type="button" onClick={() => openDialog("settings")}>
              <Icon name="gear" />
              <span>{texts.nav.settings}</span>
            </button>
          </li>
          <li>
            <button type="button" onClick={() => openDialog("keys")}>
              <Icon name="keyboard" />
              <span>{texts.nav.keys}</span>
            </button>
          </li>
        </ul>
      </nav>
    </>
  );
}

function ViewLink({ view, icon, label, onOpen }: { view: View; icon: IconName; label: string; onOpen: () => void }) {
  return (
    <li>
      <a href={`#${view}`} aria-current={place.value.view === view ? "page" : undefined} onClick={onOpen}>
        <Icon name={icon} />
        <span>{label}</span>
      </a>
    </li>
  );
}
