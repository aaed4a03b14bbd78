import temml from "temml";
import "temml/dist/Temml-Local.css";
import { h, type VNode } from "preact";
import { limits } from "./limits.ts";
import { markdownTexts as texts } from "./texts.ts";

/** A node of Temml's tree: an element, a fragment (without a type) or a text. */
interface TemmlNode {
  type?: string;
  attributes?: Record<string, unknown>;
  classes?: readonly string[];
  style?: Record<string, unknown>;
  children?: readonly TemmlNode[];
  text?: string;
}

export type Formula = { vnode: VNode } | { problem: string };

/** All that Temml makes, less what could load, link or run anything. */
const elements = new Set(
  (
    "math semantics annotation mrow mi mn mo ms mtext mspace mfrac msqrt mroot msub msup msubsup munder mover munderover " +
    "mmultiscripts mprescripts mtable mtr mtd mlabeledtr mstyle merror mpadded mphantom menclose span none"
  ).split(" "),
);
const attributes =
  /^(?:accent|accentunder|align|columnalign|columnlines|columnspacing|depth|display|displaystyle|encoding|fence|form|frame|framespacing|height|largeop|linebreak|linethickness|lspace|mathbackground|mathcolor|mathsize|mathvariant|maxsize|minsize|movablelimits|notation|rowlines|rowspacing|rspace|scriptlevel|separator|side|stretchy|symmetric|title|voffset|width|xmlns)$/;

/** Draws a formula in MathML. */
export function drawFormula(source: string, isDisplay: boolean): Formula {
  if (source.length > limits.formula) return { problem: texts.maths.tooLong };
  try {
    const tree = temml.__renderToMathMLTree(source, {
      displayMode: isDisplay,
      annotate: true,
      throwOnError: true,
      trust: false,
      strict: false,
      maxExpand: 500,
      maxSize: [20, 500],
    }) as TemmlNode;
    const counter = { nodes: 0 };
    const vnode = toVNode(tree, 0, counter);
    return vnode === null || typeof vnode === "string" ? { problem: texts.maths.tooComplex } : { vnode };
  } catch (error) {
    return { problem: error instanceof temml.ParseError ? texts.maths.invalid(reasonOf(error)) : texts.maths.tooComplex };
  }
}

function reasonOf(error: unknown): string {
  // The place is shown as it stands in the source, underlined, which is of no use in a tooltip.
  return error instanceof Error ? (error.message.replace(/^ParseError:\s*/, "").split(/ at (?:position|end)/)[0] ?? "").trim().slice(0, 200) : "";
}

class TooComplex extends Error {}

function toVNode(node: TemmlNode, depth: number, counter: { nodes: number }): VNode | string | null {
  counter.nodes++;
  if (counter.nodes > limits.formulaNodes || depth > limits.formulaDepth) throw new TooComplex();
  if (node.text !== undefined) return node.text;
  const children = (node.children ?? []).map((child) => toVNode(child, depth + 1, counter));
  // Temml makes spans, by the children's class alone, and fragments.
  const type = node.type ?? (node.classes !== undefined && node.classes.length > 0 ? "span" : "mrow");
  if (!elements.has(type)) return h("mrow", null, children);
  const props: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(node.attributes ?? {})) {
    if (attributes.test(name) && (typeof value === "string" || typeof value === "number")) props[name] = String(value);
  }
  const classes = (node.classes ?? []).filter((name) => name !== "").join(" ");
  if (classes !== "") props["class"] = classes;
  const style = Object.entries(node.style ?? {}).filter(([, value]) => isSafeStyle(value));
  if (style.length > 0) props["style"] = Object.fromEntries(style);
  return h(type, props, children);
}

/** Styles are lengths, colours and keywords; an address in one would be loaded. */
function isSafeStyle(value: unknown): boolean {
  return typeof value === "number" || (typeof value === "string" && value.length < 100 && !/url|image|[\\@;{}<>]/i.test(value));
}
