import { useSignal } from "@preact/signals";
import { isObject, type JsonObject, parseJson } from "../api/json.ts";
import { BUILT_IN, isBuiltIn, type Tool } from "../chat/tools.ts";
import { texts } from "../texts.ts";
import { Icon } from "../ui/icons.tsx";
import { schemaProblem } from "./preset.ts";

interface Props {
  tools: readonly Tool[];
  onChange: (tools: readonly Tool[]) => void;
}

const HINTS: Readonly<Record<string, { label: string; hint: string }>> = {
  clock: { label: texts.presets.clock, hint: texts.presets.clockHint },
  calculator: { label: texts.presets.calculator, hint: texts.presets.calculatorHint },
};

/** The tools that a preset offers: the page's own, and those that a person answers. */
export function ToolsEditor({ tools, onChange }: Props) {
  const own = tools.filter((tool) => !isBuiltIn(tool.name));
  const builtIn = tools.filter((tool) => isBuiltIn(tool.name));
  const put = (index: number, tool: Tool) =>
    onChange([...builtIn, ...own.map((other, i) => (i === index ? tool : other))]);
  const add = () => {
    const names = new Set(tools.map((tool) => tool.name));
    let n = 1;
    while (names.has(`tool_${n}`)) n++;
    onChange([...tools, { name: `tool_${n}`, description: "", parameters: { type: "object", properties: {} } }]);
  };
  return (
    <fieldset class="field">
      <legend>{texts.presets.tools}</legend>
      <small>{texts.presets.toolsHint}</small>
      {BUILT_IN.map((tool) => (
        <label key={tool.name} class="switch">
          <span>
            {HINTS[tool.name]?.label ?? tool.name}
            <small>{HINTS[tool.name]?.hint}</small>
          </span>
          <input
            type="checkbox"
            role="switch"
            checked={builtIn.some((one) => one.name === tool.name)}
            onChange={(event) =>
              onChange(
                event.currentTarget.checked
                  ? [...builtIn, tool, ...own]
                  : tools.filter((one) => one.name !== tool.name),
              )
            }
          />
        </label>
      ))}
      {own.map((tool, i) => (
        <ToolFields
          // What is typed is kept here: with a tool gone, fields are made anew.
          key={`${own.length}/${i}`}
          tool={tool}
          onChange={(changed) => put(i, changed)}
          onRemove={() => onChange(tools.filter((one) => one !== tool))}
        />
      ))}
      <button type="button" class="button" onClick={add}>
        <Icon name="plus" />
        {texts.presets.addTool}
      </button>
    </fieldset>
  );
}

function ToolFields({
  tool,
  onChange,
  onRemove,
}: {
  tool: Tool;
  onChange: (tool: Tool) => void;
  onRemove: () => void;
}) {
  const name = useSignal(tool.name);
  const schema = useSignal(JSON.stringify(tool.parameters, undefined, 2));
  const isNamed = /^[A-Za-z0-9_-]{1,64}$/.test(name.value) && !(isBuiltIn(name.value) && name.value !== tool.name);
  const problem = schema.value.trim() === "" ? texts.presets.schemaNotObject : schemaProblem(schema.value);
  return (
    <div class="tool">
      <div class="tool-head">
        <label class="field">
          <span>{texts.presets.toolName}</span>
          <input
            class="code"
            dir="ltr"
            value={name.value}
            aria-invalid={!isNamed}
            onInput={(event) => {
              name.value = event.currentTarget.value;
              if (/^[A-Za-z0-9_-]{1,64}$/.test(name.value) && !isBuiltIn(name.value))
                onChange({ ...tool, name: name.value });
            }}
          />
          {!isNamed && <small class="field-problem">{texts.presets.toolNameHint}</small>}
        </label>
        <button
          type="button"
          class="icon-button"
          aria-label={texts.presets.removeTool(tool.name)}
          title={texts.presets.removeTool(tool.name)}
          onClick={onRemove}
        >
          <Icon name="trash" />
        </button>
      </div>
      <label class="field">
        <span>{texts.presets.toolDescription}</span>
        <input
          dir="auto"
          value={tool.description}
          onInput={(event) => onChange({ ...tool, description: event.currentTarget.value })}
        />
      </label>
      <label class="field">
        <span>{texts.presets.toolParameters}</span>
        <textarea
          class="code"
          dir="ltr"
          rows={4}
          spellcheck={false}
          value={schema.value}
          aria-invalid={problem !== ""}
          onInput={(event) => {
            schema.value = event.currentTarget.value;
            const parsed = parseJson(schema.value);
            if (isObject(parsed)) onChange({ ...tool, parameters: parsed as JsonObject });
          }}
        />
        {problem !== "" && <small class="field-problem">{problem}</small>}
      </label>
    </div>
  );
}
