import { createReadStream, createWriteStream, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

const out = "../src/rhapsode/web";

/** A .gz beside every asset, so that the server need not compress. */
function compressed(): Plugin {
  return {
    name: "compressed",
    apply: "build",
    async closeBundle() {
      const folder = join(import.meta.dirname, out, "assets");
      for (const name of readdirSync(folder)) {
        const path = join(folder, name);
        if (/\.(js|css|svg)$/.test(name) && statSync(path).size > 1024)
          await pipeline(createReadStream(path), createGzip({ level: 9 }), createWriteStream(path + ".gz"));
      }
    },
  };
}

export default defineConfig({
  base: "./",
  build: {
    outDir: out,
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 2000,
    rollupOptions: { input: ["index.html", "docs.html"] },
  },
  server: { proxy: { "^/(tts|events|voices|engines|session|api|settings|save_settings|batches|upload_)": "http://127.0.0.1:8004" } },
  plugins: [compressed()],
});
