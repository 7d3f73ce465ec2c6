/** Run a codec in a worker. */

import { openLocal, type Backend, type BackendDecoder, type BackendEncoder } from "./backend.js";
import type { Runtime } from "./graphs.js";
import type { Answer, Request } from "./messages.js";

interface Scope {
  onmessage: ((event: MessageEvent<Request>) => void) | null;
  postMessage(answer: Answer, options: { transfer: Transferable[] }): void;
}

/**
 * Serve a page that calls `load({ worker })`. Call this function once, when the worker starts.
 *
 * @param options.ort The `onnxruntime-web/wasm` module. By default, it is imported, which requires a bundler.
 * @param options.fetch Replacement for the global `fetch`, for example to cache the downloads.
 */
export function serve({ ort, fetch }: { ort?: Runtime; fetch?: typeof globalThis.fetch } = {}): void {
  const scope = globalThis as unknown as Scope;
  const streams = new Map<number, BackendEncoder | BackendDecoder>();
  let backend: Backend;

  const say = (answer: Answer, ...views: ArrayBufferView[]) => {
    scope.postMessage(answer, { transfer: views.map((view) => view.buffer as ArrayBuffer) });
  };

  async function answer(request: Request): Promise<void> {
    if (request.kind === "load") {
      const progress = (bytes: number, totalBytes: number | null) => say({ kind: "loading", bytes, totalBytes });
      backend = await openLocal({ ...request, ort, fetch, progress });
      say({ kind: "ready", codec: backend.codec, decodes: backend.decodes, weightsBytes: backend.weightsBytes });
    } else if (request.kind === "open") {
      streams.set(request.stream, request.direction === "encode" ? backend.encoder() : backend.decoder());
    } else if (request.kind === "close") {
      streams.get(request.stream)?.close();
      streams.delete(request.stream);
    } else if (request.kind === "encode") {
      const stream = streams.get(request.stream) as BackendEncoder | undefined;
      if (!stream) return; // An abort closed the stream, so no caller waits for the answer.
      const frames = await (request.chunk ? stream.feed(request.chunk) : stream.flush());
      say({ kind: "encoded", id: request.id, frames }, frames.levels, frames.latents);
    } else {
      const stream = streams.get(request.stream) as BackendDecoder | undefined;
      if (!stream) return;
      const wave = await stream.feed(request.levels);
      say({ kind: "decoded", id: request.id, wave }, wave);
    }
  }

  scope.onmessage = ({ data }) => {
    answer(data).catch((error: unknown) => {
      const { name, message } = error instanceof Error ? error : new Error(String(error));
      say({ kind: "failed", id: "id" in data ? data.id : null, message, name });
    });
  };
}
