/**
 * What one parse, one formula or one element may hold. The Markdown parser takes more than linear time for some inputs, so
 * every text is parsed in pieces that are small enough to take a few milliseconds, whatever they contain.
 */
export const limits = {
  /** A paragraph is cut at a space after this many characters… */
  paragraph: 4096,
  /** …or anywhere after this many. */
  paragraphEnd: 5120,
  /** A list or table gets a new piece at the next item or row after this many characters. */
  piece: 2048,
  /** …or after this many lines. */
  pieceLines: 40,
  /** A paragraph of more lines is cut before a line that starts with a letter. */
  paragraphLines: 120,
  /** What cannot be cut (one list item, a quotation) is shown plain past this many characters. */
  uncut: 8192,
  /** A list is continued by another list, a table by another table, past this many. */
  list: 65536,
  table: 32768,
  columns: 64,
  /** Code and plain text are shown in chunks: cut at the first line end after the first number, or at the second. */
  chunk: 4096,
  chunkEnd: 8192,
  /** Code of more characters stays without colours. */
  highlight: 50_000,
  /** Link definitions are parsed again with each piece that may use them. */
  definitions: 4096,
  notes: 200,
  noteReferences: 2000,
  url: 2048,
  formula: 4096,
  formulaNodes: 4000,
  formulaDepth: 100,
  /** Single-dollar formulas are short; a lone dollar sign must not search far for its partner. */
  inlineFormula: 1024,
  /** Quotations and lists within one another on one line. */
  containers: 12,
  /** Marks in one piece, and lines. */
  marks: { lines: 160, containers: 400, emphasis: 320, brackets: 300, definitions: 48, links: 120, bars: 800, others: 700 },
  /** Elements within elements, and nodes of one piece. */
  depth: 48,
  nodes: 4000,
} as const;
