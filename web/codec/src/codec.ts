/** The codec: whole recordings and streams, on a backend in this thread or in a worker. */

import { openLocal, type Backend } from "./backend.js";
import { SilkError } from "./errors.js";
import type { Runtime, WasmPaths } from "./graphs.js";
import { openRemote } from "./remote.js";
import { joined, type Frames } from "./stream.js";
import { FRAMES_PER_CALL, FRAME_SAMPLES, LATENT_WIDTH, N_LEVELS, Tokens, type TokensInit } from "./tokens.js";
import { folderUrl, type LoadProgress } from "./weights.js";

export interface LoadOptions {
  /** Folder with config.json, encoder.onnx and decoder.onnx: a URL, which may be relative to the page; in Node.js also a path. */
  weights: string | URL;
  /**
   * Where the WebAssembly of ONNX Runtime is. By default it is beside the JavaScript of ONNX Runtime. Pass
   * `{ wasm: URL }` with an absolute URL to download it at the same time as the weights and to count it in `onProgress`.
   */
  wasmPaths?: WasmPaths;
  /** A worker that calls `serve()` of `silkcodec/worker`. By default the codec runs in the thread that loads it. */
  worker?: Worker;
  /** The module `onnxruntime-web/wasm`. By default it is imported by that name. Not with `worker`. */
  ort?: Runtime;
  /** Used instead of the global `fetch`. Not with `worker`, which takes it in `serve`. */
  fetch?: typeof fetch;
  signal?: AbortSignal;
  /** Called during the downloads. When all bytes are there, the model is being started. */
  onProgress?: LoadProgress;
}

export interface RunOptions {
  signal?: AbortSignal;
  /** Called with the finished share of the work, 0 to 1. */
  onProgress?: (share: number) => void;
}

/**
 * Load the codec.
 *
 * @throws SilkError: the weights are missing, damaged or of a newer format.
 * @throws The reason of `signal` if it is aborted; by default a DOMException named "AbortError".
 */
export async function load({ weights, wasmPaths, worker, ort, fetch, signal, onProgress }: LoadOptions): Promise<Codec> {
  signal?.throwIfAborted();
  const options = { folder: await folderUrl(weights), wasmPaths, signal, progress: onProgress };
  return new Codec(await (worker ? openRemote(worker, options) : openLocal({ ...options, ort, fetch })));
}

/** A loaded codec. `load` makes it. Any number of streams and calls can share it; the graphs run one call at a time. */
export class Codec {
  #backend: Backend;
  #closed = false;

  /** @internal */
  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** Name and hash of the weights, as stored in tokens and files: "silk@0a1b2c3d4e5f". */
  get id(): string {
    return this.#backend.codec;
  }

  /** Ids of earlier weights with the same encoder. `decode` also accepts their tokens. */
  get decodes(): readonly string[] {
    return this.#backend.decodes;
  }

  /** Bytes of both graphs. */
  get weightsBytes(): number {
    return this.#backend.weightsBytes;
  }

  /**
   * Encode a recording.
   *
   * @param wave Mono samples at 24 kHz, at least one.
   * @returns The tokens, with the latents before rounding.
   * @throws SilkError: the wave is empty or has values that are not finite, or the codec is closed.
   * @throws The reason of `signal` if it is aborted.
   */
  async encode(wave: Float32Array, options: RunOptions = {}): Promise<Tokens> {
    if (!wave.length) throw new SilkError("wave must have at least one sample; it is empty.");
    checkWave(wave);
    const stream = this.encoder({ signal: options.signal });
    const step = FRAMES_PER_CALL * FRAME_SAMPLES;
    const parts = Array.from({ length: Math.ceil(wave.length / step) }, (_, i) => {
      return () => stream.feed(wave.subarray(i * step, (i + 1) * step));
    });
    const { levels, latents } = joined(await inOrder([...parts, () => stream.flush()], stream, options));
    return new Tokens({ codec: this.id, nSamples: wave.length, levels, latents });
  }

  /**
   * Decode tokens of these weights, or of weights in `decodes`, to a wave at 24 kHz. The wave has `tokens.nSamples` samples
   * and is multiplied by `tokens.gain`.
   *
   * @throws SilkError: the tokens are from other weights, or the codec is closed.
   * @throws The reason of `signal` if it is aborted.
   */
  async decode(tokens: TokensInit, options: RunOptions = {}): Promise<Float32Array> {
    const { codec, levels, nSamples, gain } = tokens instanceof Tokens ? tokens : new Tokens(tokens);
    if (codec !== this.id && !this.#backend.decodes.includes(codec)) {
      throw new SilkError(`The tokens must be from ${this.id}; got tokens from ${codec}.`);
    }
    checkLevels(levels);
    const stream = this.decoder({ signal: options.signal });
    const step = FRAMES_PER_CALL * LATENT_WIDTH;
    const parts = Array.from({ length: Math.ceil(levels.length / step) }, (_, i) => {
      return () => stream.feed(levels.subarray(i * step, (i + 1) * step));
    });
    const pieces = await inOrder(parts, stream, options);
    const wave = new Float32Array(nSamples);
    let at = 0;
    for (const piece of pieces) {
      wave.set(piece.subarray(0, nSamples - at), at); // the last frame is padded
      at += piece.length;
    }
    if (gain !== 1) wave.forEach((sample, i) => (wave[i] = sample * gain));
    return wave;
  }

  /** Start to encode a stream of samples. Aborting `signal` rejects the calls that are waiting and all later ones. */
  encoder({ signal }: { signal?: AbortSignal } = {}): StreamEncoder {
    this.#check();
    return new StreamEncoder(this.#backend.encoder(), signal);
  }

  /** Start to decode a stream of levels. Aborting `signal` rejects the calls that are waiting and all later ones. */
  decoder({ signal }: { signal?: AbortSignal } = {}): StreamDecoder {
    this.#check();
    return new StreamDecoder(this.#backend.decoder(), signal);
  }

  /** Release the memory of the graphs, and terminate the worker if there is one. Calls that are waiting are rejected. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#backend.close();
  }

  #check(): void {
    if (this.#closed) throw new SilkError("The codec is closed. Load it again.");
  }
}

/** Encode a stream of samples. Calls run in order; the caller need not wait for one to make the next. */
export class StreamEncoder {
  #stream: ReturnType<Backend["encoder"]>;
  #guard: Guard;
  #nSamples = 0;
  #nFrames = 0;

  /** @internal */
  constructor(stream: ReturnType<Backend["encoder"]>, signal?: AbortSignal) {
    this.#stream = stream;
    this.#guard = new Guard(signal, () => stream.close());
  }

  /** Samples fed so far. */
  get nSamples(): number {
    return this.#nSamples;
  }

  /** Frames returned so far. */
  get nFrames(): number {
    return this.#nFrames;
  }

  /**
   * Encode the next samples: any number, mono, at 24 kHz.
   *
   * @returns The frames that became complete, often none.
   * @throws SilkError: values that are not finite, or after `flush` or `close`.
   */
  async feed(chunk: Float32Array): Promise<Frames> {
    checkWave(chunk);
    this.#nSamples += chunk.length;
    const frames: Promise<Frames>[] = [];
    const step = FRAMES_PER_CALL * FRAME_SAMPLES;
    for (let at = 0; at < chunk.length || at === 0; at += step) {
      frames.push(this.#guard.run(() => this.#stream.feed(chunk.slice(at, at + step))));
    }
    return this.#counted(joined(await Promise.all(frames)));
  }

  /** End the stream and return the remaining frames, padded with silence. */
  async flush(): Promise<Frames> {
    const frames = this.#counted(await this.#guard.run(() => this.#stream.flush()));
    this.close();
    return frames;
  }

  /** Release the state of the stream. `flush` does this as well. */
  close(): void {
    this.#guard.close();
  }

  #counted(frames: Frames): Frames {
    this.#nFrames += frames.levels.length / LATENT_WIDTH;
    return frames;
  }
}

/** Decode a stream of levels. Calls run in order; the caller need not wait for one to make the next. */
export class StreamDecoder {
  #stream: ReturnType<Backend["decoder"]>;
  #guard: Guard;
  #nFrames = 0;

  /** @internal */
  constructor(stream: ReturnType<Backend["decoder"]>, signal?: AbortSignal) {
    this.#stream = stream;
    this.#guard = new Guard(signal, () => stream.close());
  }

  /** Frames returned so far. */
  get nFrames(): number {
    return this.#nFrames;
  }

  /**
   * Decode levels [F * 128] to samples [F * 9600] at 24 kHz. `codesToLevels` makes levels of codes.
   *
   * The last frame of a recording is padded: cut the wave at the number of samples of the recording.
   *
   * @throws SilkError: the levels are not whole frames or not in 0..7, or after `close`.
   */
  async feed(levels: Uint8Array): Promise<Float32Array> {
    checkLevels(levels);
    const wave = await this.#guard.run(() => this.#stream.feed(levels.slice()));
    this.#nFrames += levels.length / LATENT_WIDTH;
    return wave;
  }

  /** Release the state of the stream. */
  close(): void {
    this.#guard.close();
  }
}

/** Reject the calls of a stream as soon as its signal is aborted or the stream is closed. */
class Guard {
  #signal?: AbortSignal;
  #release: () => void;
  #closed = false;
  #abort: () => void;
  #rejects = new Set<(reason: unknown) => void>();

  constructor(signal: AbortSignal | undefined, release: () => void) {
    this.#signal = signal;
    this.#release = release;
    this.#abort = () => this.#end(signal!.reason);
    if (signal?.aborted) this.#abort();
    else signal?.addEventListener("abort", this.#abort, { once: true });
  }

  run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#signal?.aborted) return Promise.reject(this.#signal.reason);
    if (this.#closed) return Promise.reject(new SilkError("The stream is closed. Make a new one."));
    return new Promise<T>((resolve, reject) => {
      this.#rejects.add(reject);
      task()
        .then(resolve, reject)
        .finally(() => this.#rejects.delete(reject));
    });
  }

  close(): void {
    this.#end(new SilkError("The stream is closed. Make a new one."));
  }

  #end(reason: unknown): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#signal?.removeEventListener("abort", this.#abort);
    for (const reject of this.#rejects) reject(reason);
    this.#release();
  }
}

const AHEAD = 4; // calls given to a worker before the first is finished, so that it never waits for the page

/** Run the calls of a stream in order, a few at a time, and close the stream. */
async function inOrder<T>(calls: (() => Promise<T>)[], stream: { close(): void }, options: RunOptions): Promise<T[]> {
  const results: Promise<T>[] = [];
  try {
    for (let i = 0; i < calls.length; i++) {
      for (let next = results.length; next < Math.min(calls.length, i + AHEAD); next++) {
        results.push(calls[next]());
        results[next].catch(() => {}); // awaited below, unless an earlier one fails
      }
      await results[i];
      options.onProgress?.((i + 1) / calls.length);
    }
    return await Promise.all(results);
  } finally {
    stream.close();
  }
}

function checkWave(wave: Float32Array): void {
  if (!(wave instanceof Float32Array)) throw new SilkError("wave must be a Float32Array of samples at 24 kHz.");
  for (const sample of wave) {
    if (!Number.isFinite(sample)) throw new SilkError(`Samples must be finite; got ${sample}.`);
  }
}

function checkLevels(levels: Uint8Array): void {
  if (levels.length % LATENT_WIDTH) {
    throw new SilkError(`Levels must be whole frames of ${LATENT_WIDTH}; got ${levels.length}.`);
  }
  for (const level of levels) {
    if (level >= N_LEVELS) throw new SilkError(`Levels must be 0..${N_LEVELS - 1}; got ${level}.`);
  }
}
