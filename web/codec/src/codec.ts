/** Encode and decode whole recordings and streams. */

import { openLocal, type Backend } from "./backend.js";
import { SilkError } from "./errors.js";
import type { Runtime, WasmPaths } from "./graphs.js";
import { openRemote } from "./remote.js";
import { joined, type Frames } from "./stream.js";
import { FRAMES_PER_CALL, FRAME_SAMPLES, LATENT_WIDTH, Tokens, checkLevels, type TokensInit } from "./tokens.js";
import { folderUrl, type LoadProgress } from "./weights.js";

export interface LoadOptions {
  /** URL of the weights folder, which can be relative to the page. In Node.js, a path is accepted too. */
  weights: string | URL;
  /**
   * Location of ONNX Runtime's WebAssembly. The default is the folder of its JavaScript. If you pass `{ wasm: URL }`
   * with an absolute URL, it is downloaded together with the weights and counted in `onProgress`.
   */
  wasmPaths?: WasmPaths;
  /** A worker that calls `serve()` of `silkcodec/worker`. By default, the codec runs in the current thread. */
  worker?: Worker;
  /** The `onnxruntime-web/wasm` module. By default, it is imported. Cannot be combined with `worker`. */
  ort?: Runtime;
  /** Replacement for the global `fetch`. With `worker`, pass it to `serve` instead. */
  fetch?: typeof fetch;
  signal?: AbortSignal;
  /** Called during the downloads. */
  onProgress?: LoadProgress;
}

export interface RunOptions {
  signal?: AbortSignal;
  /** Called with the completed share of the work, 0 to 1. */
  onProgress?: (share: number) => void;
}

/**
 * Load the codec.
 *
 * @throws DownloadError: a file could not be downloaded.
 * @throws SilkError: the weights are damaged or have an unsupported format.
 * @throws The reason of `signal` if it is aborted, by default a DOMException named "AbortError".
 */
export async function load({ weights, wasmPaths, worker, ort, fetch, signal, onProgress }: LoadOptions): Promise<Codec> {
  signal?.throwIfAborted();
  const options = { folder: await folderUrl(weights), wasmPaths, signal, progress: onProgress };
  return new Codec(await (worker ? openRemote(worker, options) : openLocal({ ...options, ort, fetch })));
}

/** A codec that `load` returns. Any number of streams and calls can share it. */
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

  /** Ids of earlier weights whose tokens `decode` also accepts. */
  get decodes(): readonly string[] {
    return this.#backend.decodes;
  }

  /** Size of both graphs in bytes. */
  get weightsBytes(): number {
    return this.#backend.weightsBytes;
  }

  /**
   * Encode a recording.
   *
   * @param wave Mono samples at 24 kHz, at least one.
   * @returns The tokens, with the latents before rounding.
   * @throws SilkError: the waveform is empty or contains values that are not finite, or the codec is closed.
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
   * Decode tokens to a waveform.
   *
   * @param tokens Tokens from these weights or from weights in `decodes`.
   * @returns Mono samples at 24 kHz, multiplied by `tokens.gain`.
   * @throws SilkError: the tokens come from different weights, or the codec is closed.
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

  /** Return an encoder for a stream. Aborting `signal` rejects all waiting and later calls. */
  encoder({ signal }: { signal?: AbortSignal } = {}): StreamEncoder {
    this.#check();
    return new StreamEncoder(this.#backend.encoder(), signal);
  }

  /** Return a decoder for a stream. Aborting `signal` rejects all waiting and later calls. */
  decoder({ signal }: { signal?: AbortSignal } = {}): StreamDecoder {
    this.#check();
    return new StreamDecoder(this.#backend.decoder(), signal);
  }

  /** Release the memory of the graphs, and terminate the worker if there is one. Waiting calls are rejected. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#backend.close();
  }

  #check(): void {
    if (this.#closed) throw new SilkError("The codec is closed. Load it again.");
  }
}

/** Encode a stream of samples. You can make the next call before the previous one has finished. */
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

  /** Number of samples fed so far. */
  get nSamples(): number {
    return this.#nSamples;
  }

  /** Number of frames returned so far. */
  get nFrames(): number {
    return this.#nFrames;
  }

  /**
   * Encode the next samples.
   *
   * @param chunk Any number of mono samples at 24 kHz.
   * @returns The frames that these samples complete, often none.
   * @throws SilkError: a sample is not finite, or the stream has ended.
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

  /** End the stream without returning the remaining frames. */
  close(): void {
    this.#guard.close();
  }

  #counted(frames: Frames): Frames {
    this.#nFrames += frames.levels.length / LATENT_WIDTH;
    return frames;
  }
}

/** Decode a stream of levels. You can make the next call before the previous one has finished. */
export class StreamDecoder {
  #stream: ReturnType<Backend["decoder"]>;
  #guard: Guard;
  #nFrames = 0;

  /** @internal */
  constructor(stream: ReturnType<Backend["decoder"]>, signal?: AbortSignal) {
    this.#stream = stream;
    this.#guard = new Guard(signal, () => stream.close());
  }

  /** Number of frames returned so far. */
  get nFrames(): number {
    return this.#nFrames;
  }

  /**
   * Decode levels [F * 128] to samples [F * 9600] at 24 kHz. To convert codes to levels, use `codesToLevels`.
   *
   * The last frame of a recording contains padding, which you can cut off.
   *
   * @throws SilkError: the levels are not whole frames or are out of range, or the stream is closed.
   */
  async feed(levels: Uint8Array): Promise<Float32Array> {
    checkLevels(levels);
    const wave = await this.#guard.run(() => this.#stream.feed(levels.slice()));
    this.#nFrames += levels.length / LATENT_WIDTH;
    return wave;
  }

  /** Close the stream. */
  close(): void {
    this.#guard.close();
  }
}

/** Reject the calls of a stream when its signal is aborted or the stream is closed. */
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

const AHEAD = 4; // maximum number of unfinished calls, so that a worker never waits for the page

/** Run the calls of a stream in order, and close the stream. */
async function inOrder<T>(calls: (() => Promise<T>)[], stream: { close(): void }, options: RunOptions): Promise<T[]> {
  const results: Promise<T>[] = [];
  try {
    for (let i = 0; i < calls.length; i++) {
      for (let next = results.length; next < Math.min(calls.length, i + AHEAD); next++) {
        results.push(calls[next]());
        results[next].catch(() => {}); // awaited below, unless an earlier call fails
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
