import { COMPOSER_ID, focusComposer } from "./chat/composer.tsx";
import { SEARCH_ID } from "./history/history_panel.tsx";
import { settings } from "./settings/settings.ts";
import { texts } from "./texts.ts";
import { dialogOpen, openDialog } from "./ui/dialogs.ts";
import { isDrawerOpen, isNarrow } from "./ui/drawer.ts";
import { newChat } from "./ui/sidebar.tsx";
import { go, place } from "./ui/views.ts";

const isMac = /Mac|iPhone|iPad/.test(navigator.platform);

/** Names of keys as this machine's keyboard has them. */
export const CTRL = isMac ? "⌘" : "Ctrl";
export const ALT = isMac ? "⌥" : "Alt";
export const SHIFT = isMac ? "⇧" : "Shift";

export interface Shortcut {
  /** Each inner list is pressed together; one of the outer does it. */
  keys: readonly (readonly string[])[];
  does: string;
}

const does = texts.shortcuts.list;

/** All keys, for whoever wants to know them. */
export const SHORTCUTS: readonly { title: string; list: readonly Shortcut[] }[] = [
  {
    title: texts.shortcuts.anywhere,
    list: [
      { keys: [[CTRL, SHIFT, "O"]], does: does.newChat },
      { keys: [[CTRL, "K"]], does: does.search },
      { keys: [[CTRL, "B"]], does: does.sidebar },
      { keys: [[CTRL, ","]], does: does.settings },
      { keys: [[CTRL, SHIFT, "P"]], does: does.presets },
      { keys: [["/"]], does: does.write },
      { keys: [["P"]], does: does.probabilities },
      { keys: [["?"]], does: does.keys },
    ],
  },
  {
    title: texts.shortcuts.inComposer,
    list: [
      { keys: [["Enter"], [CTRL, "Enter"]], does: does.send },
      { keys: [[SHIFT, "Enter"]], does: does.newLine },
      { keys: [["Esc"]], does: does.stop },
      { keys: [["↑"]], does: does.editLast },
    ],
  },
  {
    title: texts.shortcuts.onMessage,
    list: [
      {
        keys: [
          [ALT, "↑"],
          [ALT, "↓"],
        ],
        does: does.messages,
      },
      { keys: [["C"]], does: does.copy },
      { keys: [["E"]], does: does.edit },
      { keys: [["R"]], does: does.regenerate },
      { keys: [["G"]], does: does.goOn },
      { keys: [["←"], ["→"]], does: does.versions },
    ],
  },
  {
    title: texts.shortcuts.onToken,
    list: [
      { keys: [["←"], ["→"]], does: does.tokens },
      { keys: [["Enter"]], does: does.alternatives },
    ],
  },
];

/** Begins to hear shortcuts; called once. */
export function hearShortcuts(): void {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing) return;
    const act = actionOf(event);
    if (act === undefined) return;
    event.preventDefault();
    act();
  });
}

function actionOf(event: KeyboardEvent): (() => void) | undefined {
  const withCtrl = isMac ? event.metaKey : event.ctrlKey;
  const key = event.key.toLowerCase();
  // A dialog hears its own keys alone.
  if (dialogOpen.value !== undefined || document.querySelector("dialog[open]") !== null) return undefined;
  if (withCtrl && event.shiftKey && key === "o") return newChat;
  if (withCtrl && event.shiftKey && key === "p") return () => openDialog("presets");
  if (withCtrl && !event.shiftKey && key === "k") return focusSearch;
  if (withCtrl && !event.shiftKey && key === "b") return toggleSidebar;
  if (withCtrl && key === ",") return () => openDialog("settings");
  if (event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) return focusLastMessage;
  if (
    withCtrl ||
    event.altKey ||
    event.ctrlKey ||
    event.metaKey ||
    !settings.singleKeys.value ||
    isWriting(event.target)
  )
    return undefined;
  if (event.key === "?") return () => openDialog("keys");
  if (event.key === "/") return write;
  if (key === "p") return () => (settings.probabilities.value = !settings.probabilities.value);
  return undefined;
}

function isWriting(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
  );
}

function write(): void {
  if (place.value.view !== "chat") go("#");
  requestAnimationFrame(focusComposer);
}

function focusSearch(): void {
  settings.sidebar.value = true;
  isDrawerOpen.value = isNarrow();
  requestAnimationFrame(() => requestAnimationFrame(() => document.getElementById(SEARCH_ID)?.focus()));
}

function toggleSidebar(): void {
  if (isNarrow()) isDrawerOpen.value = !isDrawerOpen.value;
  else settings.sidebar.value = !settings.sidebar.value;
}

/** From elsewhere into the messages: to the last one. */
function focusLastMessage(): void {
  const articles = document.querySelectorAll<HTMLElement>("article");
  articles[articles.length - 1]?.focus();
  if (articles.length === 0) document.getElementById(COMPOSER_ID)?.focus();
}
