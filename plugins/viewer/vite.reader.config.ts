import { defineConfig } from "vite";

// A program for node: the reader alone, which tests feed files and compare with what h5py reads, or the entry that is named.
export default defineConfig({
  build: {
    outDir: process.env["READER_OUT"] ?? "reader-out",
    emptyOutDir: false,
    minify: false,
    target: "es2022",
    lib: { entry: process.env["READER_ENTRY"] ?? "tests/reader/serve.ts", formats: ["es"], fileName: () => "reader.mjs" },
    rolldownOptions: { external: /^node:/ },
  },
});
