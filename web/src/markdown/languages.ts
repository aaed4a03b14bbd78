/** Languages that code is coloured in, with their names and what else they are called after a fence. */
const languages: Record<string, { name: string; aliases: string }> = {
  bash: { name: "Shell", aliases: "sh shell zsh console shellsession terminal shell-session" },
  c: { name: "C", aliases: "h" },
  clojure: { name: "Clojure", aliases: "clj cljs edn" },
  cmake: { name: "CMake", aliases: "" },
  cpp: { name: "C++", aliases: "c++ cc cxx hpp hxx h++ cuda cu" },
  csharp: { name: "C#", aliases: "cs c#" },
  css: { name: "CSS", aliases: "" },
  dart: { name: "Dart", aliases: "" },
  diff: { name: "Diff", aliases: "patch" },
  dockerfile: { name: "Dockerfile", aliases: "docker containerfile" },
  elixir: { name: "Elixir", aliases: "ex exs" },
  erlang: { name: "Erlang", aliases: "erl" },
  fortran: { name: "Fortran", aliases: "f90 f95" },
  go: { name: "Go", aliases: "golang" },
  graphql: { name: "GraphQL", aliases: "gql" },
  haskell: { name: "Haskell", aliases: "hs" },
  http: { name: "HTTP", aliases: "https" },
  ini: { name: "INI", aliases: "toml cfg conf dotenv env properties" },
  java: { name: "Java", aliases: "" },
  javascript: { name: "JavaScript", aliases: "js jsx mjs cjs node" },
  json: { name: "JSON", aliases: "jsonc json5 jsonl ndjson" },
  julia: { name: "Julia", aliases: "jl" },
  kotlin: { name: "Kotlin", aliases: "kt kts" },
  latex: { name: "LaTeX", aliases: "tex" },
  less: { name: "Less", aliases: "" },
  lua: { name: "Lua", aliases: "luau" },
  makefile: { name: "Makefile", aliases: "make mk" },
  markdown: { name: "Markdown", aliases: "md mdx" },
  matlab: { name: "MATLAB", aliases: "octave" },
  nginx: { name: "nginx", aliases: "nginxconf" },
  nix: { name: "Nix", aliases: "" },
  objectivec: { name: "Objective-C", aliases: "objc obj-c mm" },
  ocaml: { name: "OCaml", aliases: "ml" },
  perl: { name: "Perl", aliases: "pl pm" },
  php: { name: "PHP", aliases: "" },
  powershell: { name: "PowerShell", aliases: "ps ps1 pwsh" },
  protobuf: { name: "Protocol Buffers", aliases: "proto" },
  python: { name: "Python", aliases: "py py3 python3 pyi gyp ipython" },
  r: { name: "R", aliases: "" },
  ruby: { name: "Ruby", aliases: "rb gemspec" },
  rust: { name: "Rust", aliases: "rs" },
  scala: { name: "Scala", aliases: "" },
  scss: { name: "SCSS", aliases: "sass" },
  sql: { name: "SQL", aliases: "postgres postgresql psql mysql sqlite plsql" },
  swift: { name: "Swift", aliases: "" },
  typescript: { name: "TypeScript", aliases: "ts tsx mts cts" },
  vim: { name: "Vim script", aliases: "viml" },
  wasm: { name: "WebAssembly", aliases: "wat" },
  xml: { name: "HTML", aliases: "html xhtml svg rss atom xsl plist vue svelte" },
  yaml: { name: "YAML", aliases: "yml" },
};

const plain = new Set(["", "text", "txt", "plain", "plaintext", "none", "nohighlight", "output", "log"]);

const byAlias = new Map<string, string>();
for (const [id, { aliases }] of Object.entries(languages)) {
  byAlias.set(id, id);
  for (const alias of aliases.split(" ")) if (alias !== "") byAlias.set(alias, id);
}

/** Names that differ from those of the language whose colours they share. */
const ownNames: Record<string, string> = {
  xml: "XML", svg: "SVG", vue: "Vue", svelte: "Svelte", toml: "TOML", jsx: "JSX", tsx: "TSX", cuda: "CUDA", cu: "CUDA", tex: "TeX",
  jsonl: "JSON Lines", conf: "Configuration", env: "Environment", sass: "Sass", octave: "Octave",
};

export interface Language {
  /** The name to show, or an empty text where there is none. */
  name: string;
  /** The highlighter's name, or null where it knows none. */
  id: string | null;
}

/** The language that a fence's info text names: its first word. */
export function languageOf(info: string): Language {
  const word = /^\{?\.?([^\s,:{}]{1,30})/.exec(info)?.[1] ?? "";
  const lower = word.toLowerCase();
  if (plain.has(lower)) return { name: "", id: null };
  const id = byAlias.get(lower) ?? null;
  if (id === null) return { name: word, id };
  return { name: ownNames[lower] ?? languages[id]?.name ?? word, id };
}

export const languageIds: readonly string[] = Object.keys(languages);
