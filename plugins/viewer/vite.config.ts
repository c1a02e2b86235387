import { defineConfig } from "vite";
import { viteSingleFile } from "vite-plugin-singlefile";

// One file, so that it opens from a disk, is sent by `emnist-diff view`, and goes into a wheel. No folder is called dist or
// build: what git ignores is not packed.
export default defineConfig({
  base: "./",
  plugins: [viteSingleFile()],
  assetsInclude: ["**/*.gz"],
  build: {
    outDir: process.env["VIEWER_OUT"] ?? "../emnist_diff_plugins/viewer/static",
    emptyOutDir: false,
    target: "es2022",
    rolldownOptions: { input: "viewer.html" },
  },
});
