import type { LanguageFn } from "highlight.js";
import { createLowlight } from "lowlight";
import type { ElementContent, RootContent } from "hast";

/** Code cut into runs of one colour, as pairs of a length and a scope; an empty scope has the text's own colour. */
export interface Runs {
  lengths: number[];
  scopes: string[];
}

/** Grammars, each in a part of its own that loads when it is first needed. */
const grammars: Record<string, () => Promise<{ default: LanguageFn }>> = {
  bash: () => import("highlight.js/lib/languages/bash"),
  c: () => import("highlight.js/lib/languages/c"),
  clojure: () => import("highlight.js/lib/languages/clojure"),
  cmake: () => import("highlight.js/lib/languages/cmake"),
  cpp: () => import("highlight.js/lib/languages/cpp"),
  csharp: () => import("highlight.js/lib/languages/csharp"),
  css: () => import("highlight.js/lib/languages/css"),
  dart: () => import("highlight.js/lib/languages/dart"),
  diff: () => import("highlight.js/lib/languages/diff"),
  dockerfile: () => import("highlight.js/lib/languages/dockerfile"),
  elixir: () => import("highlight.js/lib/languages/elixir"),
  erlang: () => import("highlight.js/lib/languages/erlang"),
  fortran: () => import("highlight.js/lib/languages/fortran"),
  go: () => import("highlight.js/lib/languages/go"),
  graphql: () => import("highlight.js/lib/languages/graphql"),
  haskell: () => import("highlight.js/lib/languages/haskell"),
  http: () => import("highlight.js/lib/languages/http"),
  ini: () => import("highlight.js/lib/languages/ini"),
  java: () => import("highlight.js/lib/languages/java"),
  javascript: () => import("highlight.js/lib/languages/javascript"),
  json: () => import("highlight.js/lib/languages/json"),
  julia: () => import("highlight.js/lib/languages/julia"),
  kotlin: () => import("highlight.js/lib/languages/kotlin"),
  latex: () => import("highlight.js/lib/languages/latex"),
  less: () => import("highlight.js/lib/languages/less"),
  lua: () => import("highlight.js/lib/languages/lua"),
  makefile: () => import("highlight.js/lib/languages/makefile"),
  markdown: () => import("highlight.js/lib/languages/markdown"),
  matlab: () => import("highlight.js/lib/languages/matlab"),
  nginx: () => import("highlight.js/lib/languages/nginx"),
  nix: () => import("highlight.js/lib/languages/nix"),
  objectivec: () => import("highlight.js/lib/languages/objectivec"),
  ocaml: () => import("highlight.js/lib/languages/ocaml"),
  perl: () => import("highlight.js/lib/languages/perl"),
  php: () => import("highlight.js/lib/languages/php"),
  powershell: () => import("highlight.js/lib/languages/powershell"),
  protobuf: () => import("highlight.js/lib/languages/protobuf"),
  python: () => import("highlight.js/lib/languages/python"),
  r: () => import("highlight.js/lib/languages/r"),
  ruby: () => import("highlight.js/lib/languages/ruby"),
  rust: () => import("highlight.js/lib/languages/rust"),
  scala: () => import("highlight.js/lib/languages/scala"),
  scss: () => import("highlight.js/lib/languages/scss"),
  sql: () => import("highlight.js/lib/languages/sql"),
  swift: () => import("highlight.js/lib/languages/swift"),
  typescript: () => import("highlight.js/lib/languages/typescript"),
  vim: () => import("highlight.js/lib/languages/vim"),
  wasm: () => import("highlight.js/lib/languages/wasm"),
  xml: () => import("highlight.js/lib/languages/xml"),
  yaml: () => import("highlight.js/lib/languages/yaml"),
};

/** Grammars that others hold within them: markup holds styles and scripts. */
const inner: Record<string, readonly string[]> = {
  xml: ["css", "javascript"],
  php: ["xml"],
  markdown: ["xml"],
  http: ["json"],
};

const lowlight = createLowlight();

async function load(id: string): Promise<void> {
  if (lowlight.registered(id)) return;
  const grammar = grammars[id];
  if (grammar === undefined) throw new Error(`There is no grammar for ${id}.`);
  const { default: language } = await grammar();
  lowlight.register(id, language);
  await Promise.all((inner[id] ?? []).map(load));
}

/** Cuts the code into coloured runs; rejects where the language is unknown. */
export async function colour(id: string, code: string): Promise<Runs> {
  await load(id);
  const runs: Runs = { lengths: [], scopes: [] };
  addRuns(lowlight.highlight(id, code, { prefix: "" }).children, "", runs);
  return runs;
}

function addRuns(nodes: readonly (RootContent | ElementContent)[], scope: string, runs: Runs): void {
  for (const node of nodes) {
    if (node.type === "text") {
      const last = runs.lengths.length - 1;
      const length = runs.lengths[last];
      if (length !== undefined && runs.scopes[last] === scope) {
        runs.lengths[last] = length + node.value.length;
      } else {
        runs.lengths.push(node.value.length);
        runs.scopes.push(scope);
      }
    } else if (node.type === "element") {
      addRuns(node.children, scopeOf(node.properties["className"]) ?? scope, runs);
    }
  }
}

/** The scope that the theme has a colour for: `title function_` is a `function`. */
function scopeOf(className: unknown): string | null {
  if (!Array.isArray(className)) return null;
  const names = className.map((name) => String(name).replace(/_+$/, ""));
  const known = names.findLast((name) => themed.has(name)) ?? null;
  return known === null ? null : (merged[known] ?? known);
}

/** Scopes that share a colour. */
const merged: Record<string, string> = {
  "template-tag": "keyword",
  "selector-pseudo": "attr",
  "selector-attr": "attr",
  "selector-class": "attr",
  "selector-id": "attr",
  "selector-tag": "name",
  attribute: "attr",
  property: "attr",
  "template-variable": "variable",
  params: "",
  subst: "",
  link: "string",
  regexp: "string",
  char: "string",
  quote: "comment",
  doctag: "keyword",
  bullet: "keyword",
  code: "string",
  literal: "number",
  symbol: "number",
  class: "type",
  title: "function",
  section: "function",
};

const themed = new Set([
  ...Object.keys(merged),
  "keyword", "string", "comment", "number", "type", "built_in", "function", "attr", "name", "variable", "meta", "addition", "deletion",
]);
