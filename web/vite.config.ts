import { createHash } from "node:crypto";
import { createReadStream, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants } from "node:zlib";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin } from "vite";

const weights = fileURLToPath(new URL("../src/silkcodec/silk/weights", import.meta.url));
const site = fileURLToPath(new URL("../src/silkcodec/site", import.meta.url)); // the wheel includes this folder
const html = fileURLToPath(new URL("../src/silkcodec/evaluate/html", import.meta.url)); // the report
const runtime = fileURLToPath(new URL("./node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm", import.meta.url));

function codec(entry: string): string {
  return fileURLToPath(new URL(`./codec/src/${entry}.ts`, import.meta.url));
}

/** Serve the model from the Python package in `npm run dev`, like `silk explain`. */
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

/** Return the sizes of the downloads of the model, so that the page can show progress even if a host compresses them. */
function modelBytes(): Record<string, number> {
  const config = JSON.parse(readFileSync(join(weights, "config.json"), "utf-8"));
  const graphs = [config.encoder, config.decoder].map(({ file, sha256 }) => [sha256, statSync(join(weights, file)).size]);
  return Object.fromEntries([...graphs, ["wasm", statSync(runtime).size]]);
}

/** Write the service worker with a list of all files and a hash of their content, and compress files that become smaller. */
function finishSite(): Plugin {
  return {
    name: "finish-site",
    apply: "build",
    closeBundle: finish,
  };
}

const SMALLEST_GAIN = 0.05;
const QUALITY = 9; // of 11; quality 11 takes ten times as long and makes the runtime only 7 % smaller

function finish(): void {
  const files = readdirSync(site, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(site, join(entry.parentPath, entry.name)).replaceAll("\\", "/"))
    .sort();
  const hash = createHash("sha256");
  for (const file of files) hash.update(`${file}\0`).update(readFileSync(join(site, file)));
  const kept = files.filter((file) => !file.endsWith(".wasm")).map((file) => (file === "index.html" ? "./" : file));
  const code = readFileSync(new URL("./service-worker.js", import.meta.url), "utf-8");
  const head = `const VERSION = "${hash.digest("hex").slice(0, 12)}";\nconst FILES = ${JSON.stringify(kept)};\n`;
  writeFileSync(join(site, "service-worker.js"), head + code);
  for (const file of files.filter((name) => name !== "index.html")) {
    const content = readFileSync(join(site, file));
    const small = brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_QUALITY]: QUALITY, [constants.BROTLI_PARAM_LGWIN]: 24, [constants.BROTLI_PARAM_SIZE_HINT]: content.length } });
    if (small.length < (1 - SMALLEST_GAIN) * content.length) writeFileSync(join(site, `${file}.br`), small);
  }
}

export default defineConfig({
  base: "./", // allows any folder on any static host
  plugins: [svelte(), packagedWeights(), finishSite()],
  define: { __MODEL_BYTES__: JSON.stringify(modelBytes()) },
  resolve: {
    // the entries of codec/package.json, and the player of the `silk compare` report
    alias: { "silkcodec/worker": codec("worker"), silkcodec: codec("index"), "report-player": join(html, "mixer.js") },
  },
  server: { fs: { allow: [".", html] } }, // style/page.css imports tokens.css from there
  build: {
    outDir: site,
    emptyOutDir: true,
    assetsInlineLimit: 0, // A worklet in a data: URL would need a weaker Content-Security-Policy.
    chunkSizeWarningLimit: 1000,
  },
  worker: { format: "es" },
  optimizeDeps: { exclude: ["onnxruntime-web"] },
  test: { include: ["test/**/*.test.ts"], environment: "node" },
} as Parameters<typeof defineConfig>[0]);
