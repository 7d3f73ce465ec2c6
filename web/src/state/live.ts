/** The live model of the page: the codec in a worker, with timings. */

import wasm from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import { DownloadError, load, type Codec } from "silkcodec";

export type LoadingState =
  | { kind: "loading"; bytes: number; totalBytes: number | null }
  | { kind: "ready"; codec: string; decodes: readonly string[]; bytes: number }
  | { kind: "failed"; message: string; damaged: boolean }; // damaged: the downloads may be damaged

export interface Encoded {
  levels: Uint8Array; // [F * 128]
  latents: Float32Array; // [F * 128]
  took_ms: number;
}

export interface Decoded {
  wave: Float32Array;
  took_ms: number;
}

export interface Options {
  progress?: (share: number) => void;
  signal?: AbortSignal;
}

/** The work was aborted by its signal. */
export class Canceled extends Error {}

export class Model {
  #codec: Promise<Codec>;

  /** Start loading the model. `report` is called with its progress, and when it is ready or has failed. */
  constructor(folder: string, report: (state: LoadingState) => void) {
    const worker = new Worker(new URL("./codec.worker.ts", import.meta.url), { type: "module" });
    const onProgress = (bytes: number, totalBytes: number | null) => report({ kind: "loading", bytes, totalBytes });
    this.#codec = load({ weights: folder, wasmPaths: { wasm: new URL(wasm, import.meta.url).href }, worker, onProgress });
    worker.addEventListener("error", () => report({ kind: "failed", message: "The model stopped working. Press “Try again” to load it again.", damaged: false }));
    this.#codec.then(
      ({ id, decodes, weightsBytes }) => report({ kind: "ready", codec: id, decodes, bytes: weightsBytes }),
      (error: Error) => report({ kind: "failed", message: error.message, damaged: !(error instanceof DownloadError) }),
    );
  }

  /** Encode a wave [T] at 24 kHz. */
  async encode(wave: Float32Array, { progress, signal }: Options = {}): Promise<Encoded> {
    const codec = await this.#codec;
    const began = performance.now();
    const { levels, latents } = await cancelable(codec.encode(wave, { signal, onProgress: progress }), signal);
    return { levels, latents: latents!, took_ms: performance.now() - began };
  }

  /** Decode levels [F * 128] to a wave [nSamples]. */
  async decode(levels: Uint8Array, nSamples: number, { progress, signal, gain }: Options & { gain?: number } = {}): Promise<Decoded> {
    const codec = await this.#codec;
    const began = performance.now();
    const tokens = { codec: codec.id, levels, nSamples, gain };
    const wave = await cancelable(codec.decode(tokens, { signal, onProgress: progress }), signal);
    return { wave, took_ms: performance.now() - began };
  }
}

async function cancelable<T>(work: Promise<T>, signal?: AbortSignal): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw signal?.aborted ? new Canceled() : error;
  }
}
