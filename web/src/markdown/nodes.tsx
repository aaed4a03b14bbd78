import type { Definition, ListItem, PhrasingContent, RootContent, Table, TableRow } from "mdast";
import type { ComponentChildren, VNode } from "preact";
import { placeholderIndex, withStash } from "./block.ts";
import { visibleText } from "./bidi.tsx";
import { chunksOf, textOf } from "./chunks.ts";
import { CodeView } from "./code_view.tsx";
import type { RenderContext } from "./context.ts";
import { Link, Picture } from "./link.tsx";
import { MathsView } from "./maths_view.tsx";
import { normalLabel } from "./references.ts";
import { markdownTexts as texts } from "./texts.ts";

type Node = RootContent | PhrasingContent;

export function renderNodes(nodes: readonly Node[], context: RenderContext): ComponentChildren[] {
  return nodes.map((node) => renderNode(node, context));
}

function renderNode(node: Node, context: RenderContext): ComponentChildren {
  switch (node.type) {
    case "paragraph":
      return <p dir={directionIn(context)}>{renderNodes(node.children, context)}</p>;
    case "heading":
      return renderHeading(node.depth, renderNodes(node.children, context), context);
    case "thematicBreak":
      return <hr />;
    case "blockquote":
      return <blockquote dir="auto">{renderNodes(node.children, nested(context))}</blockquote>;
    case "list": {
      const isLoose = isLooseList(node);
      const items = node.children.map((item) => renderItem(item, isLoose, context));
      return renderList(node.ordered === true ? (node.start ?? 1) : null, items);
    }
    case "code":
      return <CodeView code={codeOf(node.value, context)} info={node.lang ?? ""} isOpen={context.isOpen} />;
    case "table":
      return (
        <TableFrame head={renderHead(node, context)}>
          <tbody>{renderRows(node, node.children.slice(1), context)}</tbody>
        </TableFrame>
      );
    case "footnoteDefinition":
      return <div class="md-note">{renderNodes(node.children, context)}</div>;
    case "maths":
      return <MathsView source={node.value} isDisplay={node.isDisplay} />;
    case "text":
      return visibleText(withStash(node.value, context.stash, textOf), false);
    case "emphasis":
      return <em>{renderNodes(node.children, context)}</em>;
    case "strong":
      return <strong>{renderNodes(node.children, context)}</strong>;
    case "delete":
      return <del>{renderNodes(node.children, context)}</del>;
    case "inlineCode":
      return <code class="md-inline">{visibleText(withStash(node.value, context.stash, textOf), true)}</code>;
    case "break":
      return <br />;
    case "link":
      return renderLink(node.url, node.children, context);
    case "linkReference": {
      const definition = definitionOf(node.identifier, context);
      return definition === undefined ? renderNodes(node.children, context) : renderLink(definition.url, node.children, context);
    }
    case "image":
      return <Picture url={node.url} description={node.alt ?? ""} />;
    case "imageReference":
      return <Picture url={definitionOf(node.identifier, context)?.url ?? ""} description={node.alt ?? ""} />;
    case "footnoteReference":
      return <NoteMark label={node.label ?? node.identifier} context={context} />;
    case "html":
      return node.value;
    default:
      // Definitions show nothing.
      return null;
  }
}

function definitionOf(identifier: string, context: RenderContext): Definition | undefined {
  return context.links.get(identifier);
}

function directionIn(context: RenderContext): "auto" | undefined {
  return context.isNested ? undefined : "auto";
}

function nested(context: RenderContext): RenderContext {
  return context.isNested ? context : { ...context, isNested: true };
}

function renderHeading(depth: number, children: ComponentChildren, context: RenderContext): VNode {
  // The page has a heading of its own, and each answer one: those within an answer begin below.
  const Tag = (["h3", "h4", "h5", "h6", "h6", "h6"] as const)[depth - 1] ?? "h6";
  return (
    <Tag class={`md-heading-${depth}`} dir={directionIn(context)}>
      {children}
    </Tag>
  );
}

/** Whether a list's items are set apart like paragraphs. */
export function isLooseList(list: { spread?: boolean | null | undefined; children: readonly ListItem[] }): boolean {
  return list.spread === true || list.children.some(({ spread }) => spread === true);
}

export function renderList(start: number | null, items: ComponentChildren): VNode {
  if (start === null) return <ul dir="auto">{items}</ul>;
  return (
    <ol dir="auto" {...(start === 1 ? {} : { start })}>
      {items}
    </ol>
  );
}

export function renderItem(item: ListItem, isLoose: boolean, context: RenderContext): VNode {
  const children = item.children.map((node) => {
    const isBare = node.type === "paragraph" && !isLoose;
    return isBare ? renderNodes(node.children, context) : renderNode(node, nested(context));
  });
  if (typeof item.checked !== "boolean") return <li>{children}</li>;
  const label = item.checked ? texts.task.done : texts.task.open;
  return (
    <li class="md-task">
      <input type="checkbox" checked={item.checked} disabled aria-label={label} />
      <div>{children}</div>
    </li>
  );
}

export function TableFrame(props: { head: ComponentChildren; children: ComponentChildren }) {
  return (
    <div class="md-scroll" role="group" tabIndex={0} aria-label={texts.table.label} dir="auto">
      <table>
        <thead>{props.head}</thead>
        {props.children}
      </table>
    </div>
  );
}

export function renderHead(table: Table, context: RenderContext): VNode {
  const [head] = table.children;
  return (
    <tr>
      {head?.children.map((cell, column) => (
        <th scope="col" class={alignClass(table, column)}>
          {renderNodes(cell.children, context)}
        </th>
      ))}
    </tr>
  );
}

export function renderRows(table: Table, rows: readonly TableRow[], context: RenderContext): VNode[] {
  return rows.map((row) => (
    <tr>
      {row.children.map((cell, column) => (
        <td class={alignClass(table, column)}>
          {renderNodes(cell.children, context)}
        </td>
      ))}
    </tr>
  ));
}

function alignClass(table: Table, column: number): string | undefined {
  const align = table.align?.[column];
  if (align === "center") return "md-center";
  return align === "right" ? "md-end" : align === "left" ? "md-start" : undefined;
}

function renderLink(url: string, children: readonly PhrasingContent[], context: RenderContext): VNode {
  return (
    <Link url={url} words={wordsOf(children)}>
      {renderNodes(children, context)}
    </Link>
  );
}

function wordsOf(nodes: readonly PhrasingContent[]): string {
  return nodes.map((node) => ("value" in node ? node.value : "children" in node ? wordsOf(node.children) : "")).join("");
}

function codeOf(value: string, context: RenderContext) {
  const index = placeholderIndex(value);
  const stashed = index === null ? undefined : context.stash[index];
  return stashed ?? chunksOf(withStash(value, context.stash, textOf));
}

function NoteMark({ label, context }: { label: string; context: RenderContext }) {
  const number = context.notes.get(normalLabel(label));
  if (number === undefined) return <>{`[^${label}]`}</>;
  return (
    <sup>
      <a
        href={`#${context.id}-note-${number}`}
        role="doc-noteref"
        aria-label={texts.notes.reference(number)}
        data-goto={`note-${number}`}
        data-place={`mark-${number}`}
      >
        {number}
      </a>
    </sup>
  );
}
