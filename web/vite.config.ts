import { createReadStream, statSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin } from "vite";

const weights = fileURLToPath(new URL("../src/silkcodec/silk/weights", import.meta.url));

function codec(entry: string): string {
  return fileURLToPath(new URL(`./codec/src/${entry}.ts`, import.meta.url));
}

/** In `npm run dev`, the model is served from the package's own folder, as `silk explain` does it. */
function packagedWeights(): Plugin {
  return {
    name: "packaged-weights",
    configureServer(server) {
      server.middlewares.use("/weights", (request, response, next) => {
        const name = (request.url ?? "").replace(/^\/|\?.*$/g, "");
        if (!/^[\w.]+$/.test(name)) return next();
        const file = resolve(weights, name);
        response.setHeader("Content-Length", statSync(file).size);
        createReadStream(file).pipe(response);
      });
    },
  };
}

export default defineConfig({
  base: "./", // works from any folder of any static host
  plugins: [svelte(), packagedWeights()],
  resolve: { alias: { "silkcodec/worker": codec("worker"), silkcodec: codec("index") } }, // the entries of codec/package.json
  build: {
    outDir: "../src/silkcodec/site", // where the wheel takes it from
    emptyOutDir: true,
    assetsInlineLimit: 0, // a worklet as a data: URL would need a weaker content policy
    chunkSizeWarningLimit: 1000,
  },
  worker: { format: "es" },
  optimizeDeps: { exclude: ["onnxruntime-web"] },
  test: { include: ["test/**/*.test.ts"], environment: "node" },
} as Parameters<typeof defineConfig>[0]);
