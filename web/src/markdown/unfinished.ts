/**
 * Closes what the end of growing text leaves open, so that marks do not show as letters until their partners come. Only for
 * showing: the text itself is parsed as it is once it is complete.
 */
export function closeInline(source: string): string {
  const start = source.lastIndexOf("\n\n") + 1;
  const end = source.slice(start);
  const withoutCode = end.replace(/(`+)[^`]+\1(?!`)/g, (code) => "x".repeat(code.length));
  if (/(?:^|[^`])`[^`\n]*$/.test(withoutCode)) return withoutCode.endsWith("`") ? source.slice(0, -1) : `${source}\``;
  if (withoutCode.includes("`")) return source;
  const link = /!?\[([^\[\]\n]*)\]\([^()\s]*$/.exec(withoutCode);
  if (link !== null) {
    const words = link[0].startsWith("!") ? "" : source.slice(start + link.index + 1, start + link.index + 1 + (link[1] ?? "").length);
    return closeStrong(source.slice(0, start + link.index) + words, withoutCode.slice(0, link.index) + (link[1] ?? ""));
  }
  return closeStrong(source, withoutCode);
}

function closeStrong(source: string, withoutCode: string): string {
  const marks = withoutCode.match(/\*\*/g)?.length ?? 0;
  if (marks % 2 === 0) return source;
  const after = withoutCode.slice(withoutCode.lastIndexOf("**") + 2);
  if (after === "" || after === "*") return source.slice(0, -2 - after.length).trimEnd();
  if (/^\s/.test(after)) return source;
  if (after.endsWith("*")) return `${source}*`;
  return `${source.trimEnd()}**`;
}
