import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { dayOf, moment } from "../format.ts";
import { texts } from "../texts.ts";
import { Icon } from "../ui/icons.tsx";
import { Menu } from "../ui/menu.tsx";
import { addressOf, place } from "../ui/views.ts";
import { exportJson, exportMarkdown } from "./files.ts";
import { conversations, current, pin, remove, rename } from "./history.ts";
import type { Conversation } from "./store.ts";

const AT_FIRST = 100;

/** Conversations by date, those that are pinned first. */
export function HistoryList({ onOpen }: { onOpen: () => void }) {
  const limit = useSignal(AT_FIRST);
  const renaming = useSignal<string | undefined>(undefined);
  const all = conversations.value;
  if (all.length === 0) return <p class="history-empty">{texts.history.empty}</p>;
  const shown = all
    .filter((one) => one.isPinned)
    .concat(all.filter((one) => !one.isPinned))
    .slice(0, limit.value);
  return (
    <div class="history-scroll">
      {grouped(shown).map(([day, ones]) => (
        <section key={day} aria-label={day}>
          <h3 class="history-day">{day}</h3>
          <ul class="history-list">
            {ones.map((one) => (
              <li key={one.id} class="history-item">
                {renaming.value === one.id ? (
                  <Rename conversation={one} onClose={() => (renaming.value = undefined)} />
                ) : (
                  <Item conversation={one} onOpen={onOpen} onRename={() => (renaming.value = one.id)} />
                )}
              </li>
            ))}
          </ul>
        </section>
      ))}
      {all.length > limit.value && (
        <button type="button" class="button history-more" onClick={() => (limit.value += AT_FIRST)}>
          {texts.history.showMore}
        </button>
      )}
    </div>
  );
}

function grouped(all: readonly Conversation[]): [string, Conversation[]][] {
  const groups = new Map<string, Conversation[]>();
  const now = Date.now();
  for (const one of all) {
    const day = one.isPinned ? texts.history.pinned : dayOf(one.changed, now);
    const group = groups.get(day);
    if (group === undefined) groups.set(day, [one]);
    else group.push(one);
  }
  return [...groups];
}

interface ItemProps {
  conversation: Conversation;
  onOpen: () => void;
  onRename: () => void;
}

function Item({ conversation, onOpen, onRename }: ItemProps) {
  const { id, title, isPinned } = conversation;
  const isCurrent = place.value.view === "chat" && current.value.id === id;
  return (
    <>
      <a
        href={addressOf(id)}
        aria-current={isCurrent ? "page" : undefined}
        title={`${title}\n${moment(conversation.changed)}`}
        dir="auto"
        onClick={onOpen}
      >
        {title}
      </a>
      <Menu
        label={texts.history.actions(title)}
        buttonClass="icon-button icon-button-small"
        items={[
          { label: texts.history.rename, icon: "edit", act: onRename },
          {
            label: isPinned ? texts.history.unpin : texts.history.pin,
            icon: "pin",
            act: () => void pin(id, !isPinned),
          },
          { label: texts.history.exportMarkdown, icon: "save", act: () => void exportMarkdown(conversation) },
          { label: texts.history.exportJson, icon: "save", act: () => void exportJson([conversation]) },
          { label: texts.history.remove, icon: "trash", isDangerous: true, act: () => void remove(id) },
        ]}
      >
        <Icon name="more" />
      </Menu>
    </>
  );
}

function Rename({ conversation, onClose }: { conversation: Conversation; onClose: () => void }) {
  const input = useRef<HTMLInputElement>(null);
  const title = useSignal(conversation.title);
  useLayoutEffect(() => {
    // After the menu gave the focus back to its button.
    requestAnimationFrame(() => input.current?.select());
  }, []);
  const done = () => {
    void rename(conversation.id, title.value);
    onClose();
  };
  return (
    <form
      class="rename"
      onSubmit={(event) => {
        event.preventDefault();
        done();
      }}
    >
      <input
        ref={input}
        dir="auto"
        maxLength={200}
        aria-label={texts.history.renameLabel}
        value={title.value}
        onInput={(event) => (title.value = event.currentTarget.value)}
        onBlur={done}
        onKeyDown={(event) => {
          if (event.key !== "Escape") return;
          event.stopPropagation();
          onClose();
        }}
      />
    </form>
  );
}
