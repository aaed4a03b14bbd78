/** What the start of a line means to Markdown's block structure. */

export interface Indent {
  /** Width of the leading white space, tabs reaching to the next multiple of four. */
  columns: number;
  /** The line without it. */
  rest: string;
}

export function indentOf(line: string): Indent {
  let columns = 0;
  let at = 0;
  for (; at < line.length; at++) {
    const character = line[at];
    if (character === " ") columns++;
    else if (character === "\t") columns += 4 - (columns % 4);
    else break;
  }
  return { columns, rest: line.slice(at) };
}

/** The line without up to `columns` columns of leading white space. */
export function removeIndent(line: string, columns: number): string {
  let width = 0;
  let at = 0;
  while (width < columns && at < line.length) {
    const character = line[at];
    if (character === " ") width++;
    else if (character === "\t") width += 4 - (width % 4);
    else break;
    at++;
  }
  return " ".repeat(Math.max(0, width - columns)) + line.slice(at);
}

export interface Fence {
  character: "`" | "~";
  length: number;
  indent: number;
  info: string;
}

export function fenceOf({ columns, rest }: Indent): Fence | null {
  const match = /^(?:(`{3,})([^`]*)|(~{3,})(.*))$/.exec(rest);
  if (match === null) return null;
  const mark = match[1] ?? match[3] ?? "";
  const info = (match[2] ?? match[4] ?? "").trim();
  return { character: mark[0] === "`" ? "`" : "~", length: mark.length, indent: columns, info };
}

export function closesFence(fence: Fence, rest: string): boolean {
  const match = /^(`{3,}|~{3,})[ \t]*$/.exec(rest);
  const mark = match?.[1] ?? "";
  return mark[0] === fence.character && mark.length >= fence.length;
}

export interface ListMarker {
  /** `-`, `+`, `*`, `.` or `)`: items with the same mark make one list. */
  mark: string;
  /** The column at which the item's content begins. */
  content: number;
  isEmpty: boolean;
  start: number | null;
}

export function listMarkerOf({ columns, rest }: Indent): ListMarker | null {
  const match = /^(?:([-+*])|(\d{1,9})([.)]))(?=[ \t]|$)/.exec(rest);
  if (match === null) return null;
  const after = columns + match[0].length;
  let width = 0;
  let at = match[0].length;
  for (; at < rest.length; at++) {
    if (rest[at] === " ") width++;
    else if (rest[at] === "\t") width += 4 - ((after + width) % 4);
    else break;
  }
  const isEmpty = at === rest.length;
  return {
    mark: match[1] ?? match[3] ?? "",
    content: after + (isEmpty || width > 4 ? 1 : width),
    isEmpty,
    start: match[2] === undefined ? null : Number(match[2]),
  };
}

export function isThematicBreak(rest: string): boolean {
  const mark = rest[0];
  if (mark !== "*" && mark !== "-" && mark !== "_") return false;
  let count = 0;
  for (const character of rest) {
    if (character === mark) count++;
    else if (character !== " " && character !== "\t") return false;
  }
  return count >= 3;
}

export function isHeading(rest: string): boolean {
  return /^#{1,6}(?:[ \t]|$)/.test(rest);
}

export function isSetextUnderline(rest: string): boolean {
  return /^(?:=+|-+)[ \t]*$/.test(rest);
}

/** The cells that a table's delimiter row (`| --- | :-: |`) declares, or 0 where the line is none. */
export function delimiterCells(rest: string): number {
  if (!/^[-:|][-:| \t]*$/.test(rest) || !rest.includes("-")) return 0;
  const cells = splitRow(rest);
  return cells.every((cell) => /^[ \t]*:?-+:?[ \t]*$/.test(cell)) ? cells.length : 0;
}

/** The cells of a table's row; a backslash keeps a bar in its cell. */
export function splitRow(row: string): string[] {
  const trimmed = row.trim().replace(/^\|/, "").replace(/(^|[^\\])\|$/, "$1");
  return trimmed.split(/(?<!\\)\|/);
}

export function noteIdOf(rest: string): string | null {
  return /^\[\^([^\]\s]{1,99})\]:/.exec(rest)?.[1] ?? null;
}

export interface MathsFence {
  closer: "$$" | "\\]";
  /** Whether the line also holds the end. */
  isClosed: boolean;
}

/** A line that begins a displayed formula with `$$` or `\[`. */
export function mathsFenceOf(rest: string): MathsFence | null {
  const closer = rest.startsWith("\\[") ? "\\]" : rest.startsWith("$$") && rest[2] !== "$" ? "$$" : null;
  if (closer === null) return null;
  const end = rest.indexOf(closer, 2);
  if (end === -1) return { closer, isClosed: false };
  return endsFormula(rest.slice(end + 2)) ? { closer, isClosed: true } : null;
}

export function closesMaths(closer: MathsFence["closer"], line: string): boolean {
  const end = line.indexOf(closer);
  return end !== -1 && endsFormula(line.slice(end + 2));
}

/** What may follow a displayed formula on its line: the sentence's own punctuation. */
function endsFormula(after: string): boolean {
  return /^[ \t]*[.,;:]?[ \t]*$/.test(after);
}
