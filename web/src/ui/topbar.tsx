import type { ComponentChildren } from "preact";
import { settings } from "../settings/settings.ts";
import { texts } from "../texts.ts";
import { isDrawerOpen } from "./drawer.ts";
import { Icon } from "./icons.tsx";

/** The bar over a view. Where the sidebar is hidden, a button brings it back. */
export function Topbar({ children }: { children: ComponentChildren }) {
  return (
    <header class="topbar">
      <button
        type="button"
        class="icon-button topbar-menu"
        data-sidebar={settings.sidebar.value ? "shown" : "hidden"}
        aria-label={texts.nav.open}
        title={texts.nav.open}
        onClick={() => {
          isDrawerOpen.value = true;
          settings.sidebar.value = true;
        }}
      >
        <Icon name="menu" />
      </button>
      {children}
    </header>
  );
}
