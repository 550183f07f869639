import { svelte, vitePreprocess } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

// One classic script and one style sheet under fixed names: clew.page.single_file puts both inside one HTML file.
export default defineConfig({
  plugins: [svelte({ preprocess: vitePreprocess(), configFile: false })],
  build: {
    target: "es2022",
    emptyOutDir: true,
    modulePreload: false,
    cssCodeSplit: false,
    license: { fileName: "licences.md" },
    rolldownOptions: {
      input: "src/main.ts",
      checks: { pluginTimings: false },
      output: { format: "iife", entryFileNames: "clew.js", assetFileNames: "clew[extname]" },
    },
  },
});
