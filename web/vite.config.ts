import { svelte, vitePreprocess } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type BuildOptions } from "vite";

const common: BuildOptions = { target: "es2022", emptyOutDir: true, license: { fileName: "licences.md" } };

// For reports: one classic script and one style sheet under fixed names, which clew.page.single_file puts inside one HTML file.
const report: BuildOptions = {
  ...common,
  modulePreload: false,
  cssCodeSplit: false,
  rolldownOptions: {
    input: "src/main.ts",
    checks: { pluginTimings: false },
    output: { format: "iife", entryFileNames: "clew.js", assetFileNames: "clew[extname]" },
  },
};

// For `clew look`: modules, each page fetched when it is first opened, from the server that sent the page.
const look: BuildOptions = {
  ...common,
  modulePreload: { polyfill: false },
  assetsInlineLimit: 0,
  rolldownOptions: { input: "index.html", checks: { pluginTimings: false } },
};

// For a page of `clew look` that is saved: a classic script, put inside its file as the reports' is. What few pages need is
// no part of it, and lies beside it as its makers built it.
const saved: BuildOptions = {
  ...common,
  modulePreload: false,
  cssCodeSplit: false,
  rolldownOptions: {
    input: "src/saved.ts",
    checks: { pluginTimings: false },
    external: ["katex", "uplot"],
    output: { format: "iife", entryFileNames: "saved.js", assetFileNames: "saved[extname]", globals: { katex: "globalThis.katex", uplot: "globalThis.uPlot" } },
  },
};

export default defineConfig(({ mode }) => ({
  plugins: [svelte({ preprocess: vitePreprocess(), configFile: false })],
  build: { look, saved }[mode] ?? report,
}));
