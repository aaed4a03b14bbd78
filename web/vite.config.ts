import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { defineConfig, type Plugin } from "vite";

// Where `npm run dev` finds a running `puna serve`.
const server = process.env["PUNA_SERVER"] ?? "http://127.0.0.1:11434";

/** The licences of what the worker holds, which the build's own list leaves out. */
const licencesOfColouring: Plugin = {
  name: "licences-of-colouring",
  generateBundle() {
    const texts = ["highlight.js/LICENSE", "lowlight/license"].map((file) => {
      const text = readFileSync(resolve(import.meta.dirname, "node_modules", file), "utf8");
      return `${file.split("/")[0]}\n\n${text}`;
    });
    this.emitFile({ type: "asset", fileName: "licences_colouring.txt", source: texts.join("\n\n") });
  },
};

// The server embeds what is built: `/` is index.html, all else lies below `/page/`.
export default defineConfig({
  base: "/page/",
  resolve: {
    // The package's form for browsers needs what the page's security policy forbids.
    alias: { "decode-named-character-reference": resolve(import.meta.dirname, "src/markdown/character_references.ts") },
  },
  build: {
    outDir: "../crates/serve/page",
    emptyOutDir: true,
    assetsDir: ".",
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
    sourcemap: false,
    // What the licences of packages ask to be passed on.
    license: { fileName: "licences.md" },
    target: "es2022",
  },
  // So a language is loaded when code of it is shown.
  worker: { format: "es" },
  plugins: [licencesOfColouring],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  server: {
    proxy: Object.fromEntries(
      ["/v1", "/api", "/metrics", "/state", "/tokenize", "/infill", "/health"].map((path) => [path, server]),
    ),
  },
});
