/** Control a codec in a worker from the page. */

import type { Backend, BackendOptions } from "./backend.js";
import { DownloadError, SilkError } from "./errors.js";
import type { Answer, Request } from "./messages.js";

const ERRORS: Record<string, new (message: string) => Error> = { SilkError, DownloadError };

interface Waiting {
  stream: number;
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

/** Load a codec in a worker that calls `serve()`. Closing the codec terminates the worker. */
export async function openRemote(worker: Worker, options: Omit<BackendOptions, "ort" | "fetch">): Promise<Backend> {
  const { folder, wasmPaths, progress, signal } = options;
  const waiting = new Map<number, Waiting>();
  let ids = 0;
  let streams = 0;
  let stopped: Error | null = null;

  const send = (request: Request) => worker.postMessage(request);
  const stop = (error: Error) => {
    stopped ??= error;
    worker.terminate();
    for (const one of waiting.values()) one.reject(stopped);
    waiting.clear();
  };

  function ask(stream: number, make: (id: number) => Request): Promise<Answer> {
    if (stopped) return Promise.reject(stopped);
    return new Promise((resolve, reject) => {
      const id = ++ids;
      waiting.set(id, { stream, resolve, reject });
      send(make(id));
    });
  }

  function openStream(direction: "encode" | "decode"): { stream: number; close(): void } {
    const stream = ++streams;
    send({ kind: "open", stream, direction });
    const close = () => {
      send({ kind: "close", stream });
      for (const [id, one] of waiting) {
        if (one.stream !== stream) continue;
        waiting.delete(id);
        one.reject(new SilkError("The stream was closed."));
      }
    };
    return { stream, close };
  }

  const ready = await new Promise<Answer & { kind: "ready" }>((resolve, reject) => {
    const fail = (error: Error) => {
      stop(error);
      reject(error);
    };
    const abort = () => fail(signal!.reason as Error);
    if (signal?.aborted) return abort();
    signal?.addEventListener("abort", abort, { once: true });
    worker.addEventListener("error", (event) => {
      fail(new SilkError(`The codec worker failed: ${event.message || "its script could not be loaded"}. Load the codec again.`));
    });
    worker.addEventListener("message", ({ data }: MessageEvent<Answer>) => {
      if (data.kind === "loading") progress?.(data.bytes, data.totalBytes);
      else if (data.kind === "ready") {
        signal?.removeEventListener("abort", abort);
        resolve(data);
      } else if (data.kind === "failed") {
        const error = new (ERRORS[data.name] ?? Error)(data.message);
        if (data.id === null) fail(error);
        else take(data.id)?.reject(error);
      } else take(data.id)?.resolve(data);
    });
    send({ kind: "load", folder, wasmPaths });
  });

  function take(id: number): Waiting | undefined {
    const found = waiting.get(id);
    waiting.delete(id);
    return found;
  }

  return {
    codec: ready.codec,
    decodes: ready.decodes,
    weightsBytes: ready.weightsBytes,
    encoder() {
      const { stream, close } = openStream("encode");
      const encode = async (chunk: Float32Array | null) =>
        ((await ask(stream, (id) => ({ kind: "encode", id, stream, chunk }))) as Answer & { kind: "encoded" }).frames;
      return { feed: encode, flush: () => encode(null), close };
    },
    decoder() {
      const { stream, close } = openStream("decode");
      const feed = async (levels: Uint8Array) =>
        ((await ask(stream, (id) => ({ kind: "decode", id, stream, levels }))) as Answer & { kind: "decoded" }).wave;
      return { feed, close };
    },
    async close() {
      stop(new SilkError("The codec is closed. Load it again."));
    },
  };
}
