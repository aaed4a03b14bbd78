import type { Signal } from "@preact/signals";
import { modelOf, models, server } from "../api/server.ts";
import { conversationOf, current } from "../history/history.ts";
import { settings } from "../settings/settings.ts";
import { texts } from "../texts.ts";
import { Icon } from "../ui/icons.tsx";
import { Menu } from "../ui/menu.tsx";
import { Logo } from "../ui/logo.tsx";
import { Topbar } from "../ui/topbar.tsx";
import { modelFor } from "./answering.ts";
import { Composer } from "./composer.tsx";
import { send } from "./conversing.ts";
import { editing } from "./editing.ts";
import { MessageList } from "./message_list.tsx";
import { ModelPicker } from "./model_picker.tsx";
import { PresetPicker } from "./preset_picker.tsx";
import type { Column, Thread } from "./thread.ts";

/** The conversation that is open. */
export function ChatView({ wanted }: { wanted: Signal<string | undefined> }) {
  const thread = current.value;
  const columns = thread.columns.value;
  const isEmpty = !thread.isLoading.value && columns.every((column) => column.path.value.length === 0);
  const isComparing = columns.length > 1;
  const editLast = () => {
    const last = thread.column.path.value.findLast((id) => thread.tree.get(id)?.role === "user");
    if (last === undefined) return;
    wanted.value = last;
    editing.value = last;
  };
  return (
    <>
      <Topbar>
        {!isComparing && <ModelPicker thread={thread} column={thread.column} />}
        <PresetPicker thread={thread} />
        <div class="topbar-end">
          <CompareButton thread={thread} />
          <button
            type="button"
            class="icon-button"
            aria-label={texts.probabilities.toggle}
            title={texts.probabilities.toggle}
            aria-pressed={settings.probabilities.value}
            onClick={() => (settings.probabilities.value = !settings.probabilities.value)}
          >
            <Icon name="tint" />
          </button>
        </div>
      </Topbar>
      <section class={isComparing ? "chat chat-compare" : "chat"} aria-label={texts.chat.label}>
        {!isEmpty && <h1 class="unseen">{conversationOf(thread.id)?.title ?? texts.chat.label}</h1>}
        {thread.isLoading.value && <p class="chat-loading">{texts.chat.loading}</p>}
        {isEmpty && !isComparing && <Greeting thread={thread} />}
        {(!isEmpty || isComparing) && (
          <div class="columns">
            {columns.map((column, i) => (
              <div key={i} class="column">
                {isComparing && <ColumnHead thread={thread} column={column} />}
                <MessageList
                  thread={thread}
                  column={column}
                  label={isComparing ? texts.compare.column(i + 1) : texts.chat.messages}
                  wanted={wanted}
                />
              </div>
            ))}
          </div>
        )}
        <Composer thread={thread} onEditLast={editLast} />
      </section>
    </>
  );
}

function Greeting({ thread }: { thread: Thread }) {
  const isText = modelOf(modelFor(thread.column))?.canChat === false;
  const hasModel = models.value.length > 0;
  return (
    <div class="greeting">
      <Logo />
      <h1>{texts.chat.greeting}</h1>
      <p>{texts.chat.greetingDetail}</p>
      {isText && <p class="note">{texts.chat.notChat}</p>}
      {!hasModel && server.value !== undefined && <p class="note note-warning">{texts.composer.noModel}</p>}
      {hasModel && (
        <ul class="starters">
          {texts.chat.starters.map((starter) => (
            <li key={starter}>
              <button type="button" class="starter" onClick={() => send(thread, starter, [])}>
                {starter}
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

function CompareButton({ thread }: { thread: Thread }) {
  const isComparing = thread.columns.value.length > 1;
  if (isComparing) {
    return (
      <button
        type="button"
        class="icon-button"
        aria-label={texts.compare.stop}
        title={texts.compare.stop}
        aria-pressed
        onClick={() => thread.keep(thread.column)}
      >
        <Icon name="columns" />
      </button>
    );
  }
  const items = models.value.map((model) => ({ label: model.name, act: () => thread.compareWith(model.name) }));
  if (items.length === 0) return null;
  return (
    <Menu label={texts.compare.start} items={items}>
      <Icon name="columns" />
    </Menu>
  );
}

function ColumnHead({ thread, column }: { thread: Thread; column: Column }) {
  return (
    <header class="column-head">
      <ModelPicker thread={thread} column={column} />
      <button type="button" class="button button-small" onClick={() => thread.keep(column)}>
        {texts.compare.keep}
      </button>
    </header>
  );
}
