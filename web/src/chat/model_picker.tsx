import { models } from "../api/server.ts";
import type { Model } from "../api/server_state.ts";
import { number } from "../format.ts";
import { settings } from "../settings/settings.ts";
import { texts } from "../texts.ts";
import { Icon } from "../ui/icons.tsx";
import { Menu } from "../ui/menu.tsx";
import { modelFor } from "./answering.ts";
import type { Column, Thread } from "./thread.ts";

/** Chooses who answers in a column. */
export function ModelPicker({ thread, column }: { thread: Thread; column: Column }) {
  const chosen = modelFor(column);
  const choose = (name: string) => {
    column.model.value = name;
    if (column === thread.column) settings.model.value = name;
    thread.onChange(thread);
  };
  const items = models.value.map((model) => ({
    label: model.name,
    detail: aboutModel(model),
    isChosen: model.name === chosen,
    act: () => choose(model.name),
  }));
  const model = models.value.find((one) => one.name === chosen);
  return (
    <Menu label={`${texts.models.label}: ${chosen || texts.models.none}`} items={items} buttonClass="picker">
      <span class={`dot dot-${model?.state ?? "unknown"}`} aria-hidden="true" />
      <span class="picker-name" dir="auto">
        {chosen || texts.models.none}
      </span>
      <Icon name="down" />
    </Menu>
  );
}

export function aboutModel(model: Model): string {
  const parts: string[] = [];
  if (model.state !== "unknown") parts.push(texts.models.states[model.state]);
  if (model.context !== undefined) parts.push(texts.models.context(number(model.context)));
  if (model.canSee === true) parts.push(texts.models.sees);
  if (model.canInfill === true) parts.push(texts.models.infills);
  if (model.canChat === false) parts.push(texts.models.textOnly);
  return parts.join(" · ");
}
