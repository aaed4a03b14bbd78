import { resolve } from "node:path";
import { defineConfig } from "vitest/config";

// One server and one browser at a time: the machine is as small as it may be.
export default defineConfig({
  cacheDir: resolve(import.meta.dirname, "../../node_modules/.vite"),
  test: {
    root: import.meta.dirname,
    include: ["*.flow.ts"],
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
