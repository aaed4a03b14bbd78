import { limits } from "./limits.ts";

/**
 * Whether a piece would take the parser longer than a frame or two. Its time grows with how many marks may pair up, how
 * deep containers nest and how many lines one container holds, and with the square of that for some; texts that people read stay far below.
 */
export function isCostly(source: string): boolean {
  const counts = { lines: 0, containers: 0, emphasis: 0, brackets: 0, definitions: 0, links: 0, bars: 0, others: 0 };
  let previous = 0;
  for (let index = 0; index < source.length; index++) {
    if (index === 0 || previous === newline) {
      counts.lines++;
      const depth = containerDepth(source, index);
      if (depth > limits.containers) return true;
      counts.containers += depth;
    }
    const code = source.charCodeAt(index);
    if ((code === star || code === underscore || code === tilde) && code !== previous) counts.emphasis++;
    else if (code === openBracket || code === closeBracket) counts.brackets++;
    else if (code === colon && previous === closeBracket) counts.definitions++;
    else if (code === at || (code === slash && previous === slash)) counts.links++;
    else if (code === dot && (previous === smallW || previous === largeW)) counts.links += 3;
    else if (code === bar) counts.bars++;
    else if (otherMarks.has(code)) counts.others++;
    previous = code;
  }
  return (Object.keys(counts) as (keyof typeof counts)[]).some((key) => counts[key] > limits.marks[key]);
}

const newline = 10;
const star = 42;
const dot = 46;
const slash = 47;
const colon = 58;
const at = 64;
const largeW = 87;
const openBracket = 91;
const closeBracket = 93;
const underscore = 95;
const smallW = 119;
const bar = 124;
const tilde = 126;
/** What may begin something, one after the other in linear time. */
const otherMarks = new Set([..."!#$&<\\`"].map((mark) => mark.charCodeAt(0)));

/** How many quotations and list items a line begins or indents itself into. */
function containerDepth(source: string, start: number): number {
  let depth = 0;
  let spaces = 0;
  for (let index = start; index < source.length && depth <= limits.containers; ) {
    const character = source.charAt(index);
    if (character === " " || character === "\t") {
      spaces += character === " " ? 1 : 4;
      index++;
      continue;
    }
    const marker = /^(?:>|(?:[-+*]|\d{1,9}[.)])(?=[ \t\n]|$))/.exec(source.slice(index, index + 12))?.[0];
    if (marker === undefined) break;
    depth++;
    index += marker.length;
  }
  return depth === 0 ? 0 : depth + Math.floor(Math.min(spaces, 200) / 4);
}
