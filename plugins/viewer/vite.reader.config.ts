import { defineConfig } from "vite";

// The reader alone, for node: tests feed it files and compare every byte with what h5py reads.
export default defineConfig({
  build: {
    outDir: process.env["READER_OUT"] ?? "reader-out",
    emptyOutDir: false,
    minify: false,
    target: "es2022",
    lib: { entry: "tests/reader/serve.ts", formats: ["es"], fileName: () => "reader.mjs" },
    rolldownOptions: { external: /^node:/ },
  },
});
