/**
 * Streaming, as `silkcodec/silk/stream.py`: samples in, frames out, one frame at a time, with the state passed along.
 *
 *     samples  |<-- 480 -->|<-------------- 9600 -------------->|<-------------- 9600 -------------->| ...
 *              primes the   frame 0 is encoded when these are    frame 1
 *              first state  there
 *
 * The encoder is always called with one frame: another shape may round the last bit otherwise, and FSQ turns that
 * into another token once in a while.
 */

import { FRAME_SAMPLES, LATENT_WIDTH, SilkError } from "./tokens";

export interface EncodedFrame {
  levels: Uint8Array; // [128], 0..7
  latent: Float32Array; // [128], what was rounded
}

/** The encoder's graph; S is whatever it keeps its states in. */
export interface EncoderGraph<S> {
  lookaheadSamples: number;
  fresh(prime: Float32Array): S; // the state at the start of a stream, given its first samples
  run(wave: Float32Array, states: S): Promise<[EncodedFrame, S]>; // [9600]
}

/** The decoder's graph. */
export interface DecoderGraph<S> {
  fresh(): S;
  run(levels: Uint8Array, states: S): Promise<[Float32Array, S]>; // [F * 128] -> [F * 9600]
}

export class StreamEncoder<S> {
  nSamples = 0; // fed so far
  nFrames = 0; // that have come out
  #graph: EncoderGraph<S>;
  #states: S | null = null;
  #buffer = new Float32Array(FRAME_SAMPLES);
  #filled = 0;
  #wanted: number; // the look-ahead first, then whole frames
  #finished = false;

  constructor(graph: EncoderGraph<S>) {
    this.#graph = graph;
    this.#wanted = graph.lookaheadSamples;
  }

  /** The frames that these samples, any number of them, complete. */
  async feed(chunk: Float32Array): Promise<EncodedFrame[]> {
    if (this.#finished) throw new SilkError("A stream must not be fed after its end; make a new one.");
    const frames: EncodedFrame[] = [];
    this.nSamples += chunk.length;
    for (let at = 0; at < chunk.length; ) {
      const part = chunk.subarray(at, at + this.#wanted - this.#filled);
      this.#buffer.set(part, this.#filled);
      this.#filled += part.length;
      at += part.length;
      if (this.#filled === this.#wanted) frames.push(...(await this.#advance()));
    }
    return frames;
  }

  /** The end: the frames not yet complete, filled up with silence. */
  async flush(): Promise<EncodedFrame[]> {
    this.#finished = true;
    const frames: EncodedFrame[] = [];
    while (this.nFrames < Math.ceil(this.nSamples / FRAME_SAMPLES)) {
      this.#buffer.fill(0, this.#filled);
      frames.push(...(await this.#advance()));
    }
    return frames;
  }

  /** Uses up a full buffer: primes the state, or encodes a frame. */
  async #advance(): Promise<EncodedFrame[]> {
    const full = this.#buffer.slice(0, this.#wanted);
    this.#filled = 0;
    if (this.#states === null) {
      this.#states = this.#graph.fresh(full);
      this.#wanted = FRAME_SAMPLES;
      return [];
    }
    const [frame, states] = await this.#graph.run(full, this.#states);
    this.#states = states;
    this.nFrames++;
    return [frame];
  }
}

export class StreamDecoder<S> {
  #graph: DecoderGraph<S>;
  #states: S;

  constructor(graph: DecoderGraph<S>) {
    this.#graph = graph;
    this.#states = graph.fresh();
  }

  /** Levels [F * 128] -> samples [F * 9600]. */
  async feed(levels: Uint8Array): Promise<Float32Array> {
    if (levels.length % LATENT_WIDTH) throw new SilkError(`Levels must be whole frames; got ${levels.length}.`);
    const [wave, states] = await this.#graph.run(levels, this.#states);
    this.#states = states;
    return wave;
  }
}
