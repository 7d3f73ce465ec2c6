/**
 * Encode and decode streams frame by frame, with the state passed along, as `silkcodec/silk/stream.py` does.
 *
 *     samples  |<-- 480 -->|<-------------- 9600 -------------->|<-------------- 9600 -------------->| ...
 *              prime the    frame 0 is encoded when these        frame 1
 *              first state  samples are complete
 *
 * The encoder is called with one frame, so that a page stays responsive. The result for a frame does not depend on the
 * number of frames in a call.
 */

import { SilkError } from "./errors.js";
import { Queue } from "./queue.js";
import { DECODE_FRAMES, FRAME_SAMPLES, LATENT_WIDTH, nFrames } from "./tokens.js";

/** One frame of an encoder. */
export interface EncodedFrame {
  levels: Uint8Array; // [128], 0..7
  latents: Float32Array; // [128], before rounding
}

/** Frames of an encoder; F is often 0, because a frame is 400 ms. */
export interface Frames {
  levels: Uint8Array; // [F * 128], 0..7
  latents: Float32Array; // [F * 128], before rounding
}

/** The graph of the encoder. S holds its states. */
export interface EncoderGraph<S> {
  lookaheadSamples: number;
  fresh(prime: Float32Array): S; // the states at the start of a stream that begins with these samples
  run(wave: Float32Array, states: S): Promise<[EncodedFrame, S]>; // [9600]
}

/** The graph of the decoder. */
export interface DecoderGraph<S> {
  fresh(): S;
  run(levels: Uint8Array, states: S): Promise<[Float32Array, S]>; // [F * 128] -> [F * 9600]
}

/** Encode a stream with a graph. Calls run in order, also if the caller does not await each one. */
export class GraphEncoder<S> {
  #graph: EncoderGraph<S>;
  #states: S | null = null;
  #buffer = new Float32Array(FRAME_SAMPLES);
  #filled = 0;
  #wanted: number; // the look-ahead first, then whole frames
  #nSamples = 0;
  #nFrames = 0;
  #finished = false;
  #queue = new Queue();

  constructor(graph: EncoderGraph<S>) {
    this.#graph = graph;
    this.#wanted = graph.lookaheadSamples;
  }

  /** Return the frames that these samples complete. */
  feed(chunk: Float32Array): Promise<Frames> {
    return this.#queue.run(async () => {
      if (this.#finished) throw new SilkError("A stream cannot be fed after flush(). Make a new one.");
      const frames: EncodedFrame[] = [];
      this.#nSamples += chunk.length;
      for (let at = 0; at < chunk.length; ) {
        const part = chunk.subarray(at, at + this.#wanted - this.#filled);
        this.#buffer.set(part, this.#filled);
        this.#filled += part.length;
        at += part.length;
        if (this.#filled === this.#wanted) frames.push(...(await this.#advance()));
      }
      return joined(frames);
    });
  }

  /** End the stream and return the remaining frames, padded with silence. */
  flush(): Promise<Frames> {
    return this.#queue.run(async () => {
      if (this.#finished) throw new SilkError("A stream cannot be flushed twice. Make a new one.");
      this.#finished = true;
      const frames: EncodedFrame[] = [];
      while (this.#nFrames < nFrames(this.#nSamples)) {
        this.#buffer.fill(0, this.#filled);
        frames.push(...(await this.#advance()));
      }
      return joined(frames);
    });
  }

  /** Use the full buffer: to prime the states, or to encode a frame. */
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
    this.#nFrames++;
    return [frame];
  }
}

/** Decode a stream with a graph. Calls run in order, also if the caller does not await each one. */
export class GraphDecoder<S> {
  #graph: DecoderGraph<S>;
  #states: S;
  #queue = new Queue();

  constructor(graph: DecoderGraph<S>) {
    this.#graph = graph;
    this.#states = graph.fresh();
  }

  /** Decode levels [F * 128] to samples [F * 9600]. */
  feed(levels: Uint8Array): Promise<Float32Array> {
    return this.#queue.run(async () => {
      const wave = new Float32Array((levels.length / LATENT_WIDTH) * FRAME_SAMPLES);
      const step = DECODE_FRAMES * LATENT_WIDTH;
      for (let at = 0; at < levels.length; at += step) {
        const [part, states] = await this.#graph.run(levels.slice(at, at + step), this.#states);
        this.#states = states;
        wave.set(part, (at / LATENT_WIDTH) * FRAME_SAMPLES);
      }
      return wave;
    });
  }
}

/** Concatenate frames. */
export function joined(frames: readonly (EncodedFrame | Frames)[]): Frames {
  const size = frames.reduce((sum, frame) => sum + frame.levels.length, 0);
  const whole = { levels: new Uint8Array(size), latents: new Float32Array(size) };
  let at = 0;
  for (const { levels, latents } of frames) {
    whole.levels.set(levels, at);
    whole.latents.set(latents, at);
    at += levels.length;
  }
  return whole;
}
