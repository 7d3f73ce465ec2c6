/**
 * Encode and decode streams frame by frame.
 *
 *     samples  |<-- 480 -->|<-------------- 9600 -------------->|<-------------- 9600 -------------->| ...
 *              initialize   frame 0 is encoded when these        frame 1
 *              the states   samples are complete
 *
 * A call processes up to `FRAMES_PER_CALL` frames. The result does not depend on this number.
 */

import { SilkError } from "./errors.js";
import { Queue } from "./queue.js";
import { FRAMES_PER_CALL, FRAME_SAMPLES, LATENT_WIDTH, nFrames } from "./tokens.js";

/** Frames from an encoder. */
export interface Frames {
  levels: Uint8Array; // [F * 128], 0..7
  latents: Float32Array; // [F * 128], before rounding
}

/** The encoder graph. `S` is the type of its states. */
export interface EncoderGraph<S> {
  lookaheadSamples: number;
  fresh(prime: Float32Array): S; // states for a stream that starts with these samples
  run(wave: Float32Array, states: S): Promise<[Frames, S]>; // [F * 9600]
}

/** The decoder graph. `S` is the type of its states. */
export interface DecoderGraph<S> {
  fresh(): S;
  run(levels: Uint8Array, states: S): Promise<[Float32Array, S]>; // [F * 128] -> [F * 9600]
}

/** A stream whose calls run in order, even if you do not await each of them. */
class GraphStream {
  protected queue = new Queue();
  #closed = false;

  /** Reject all calls that have not finished. */
  close(): void {
    this.#closed = true;
  }

  /** Run a graph, after other tasks of the thread, e.g. drawing or the message that closes the stream. */
  protected async run<T>(call: () => Promise<T>): Promise<T> {
    await pause();
    if (this.#closed) throw new SilkError("The stream is closed. Make a new one.");
    return call();
  }
}

/** Encode a stream. */
export class GraphEncoder<S> extends GraphStream {
  #graph: EncoderGraph<S>;
  #states: S | null = null;
  #buffer = new Float32Array(FRAMES_PER_CALL * FRAME_SAMPLES);
  #filled = 0;
  #nSamples = 0;
  #nFrames = 0;
  #finished = false;

  constructor(graph: EncoderGraph<S>) {
    super();
    this.#graph = graph;
  }

  /** Return the frames that these samples complete. */
  feed(chunk: Float32Array): Promise<Frames> {
    return this.queue.run(async () => {
      if (this.#finished) throw new SilkError("A stream cannot be fed after flush(). Make a new one.");
      const parts: Frames[] = [];
      this.#nSamples += chunk.length;
      for (let at = 0; at < chunk.length; ) {
        const room = this.#states === null ? this.#graph.lookaheadSamples : this.#buffer.length;
        const part = chunk.subarray(at, at + room - this.#filled);
        this.#buffer.set(part, this.#filled);
        this.#filled += part.length;
        at += part.length;
        if (this.#states === null) {
          if (this.#filled === room) this.#prime();
        } else if (this.#filled === room || at === chunk.length) {
          parts.push(await this.#encode(Math.floor(this.#filled / FRAME_SAMPLES), this.#states));
        }
      }
      return joined(parts);
    });
  }

  /** End the stream and return the remaining frames, padded with silence. */
  flush(): Promise<Frames> {
    return this.queue.run(async () => {
      if (this.#finished) throw new SilkError("A stream cannot be flushed twice. Make a new one.");
      this.#finished = true;
      const states = this.#states ?? this.#prime();
      this.#buffer.fill(0, this.#filled);
      return joined([await this.#encode(nFrames(this.#nSamples) - this.#nFrames, states)]);
    });
  }

  /** Return states that are initialized with the first samples of the buffer. */
  #prime(): S {
    this.#filled = 0;
    return (this.#states = this.#graph.fresh(this.#buffer.slice(0, this.#graph.lookaheadSamples)));
  }

  /** Encode the first frames of the buffer. */
  async #encode(frames: number, states: S): Promise<Frames> {
    if (!frames) return joined([]);
    const end = frames * FRAME_SAMPLES;
    const [result, next] = await this.run(() => this.#graph.run(this.#buffer.slice(0, end), states));
    this.#states = next;
    this.#buffer.copyWithin(0, end, this.#filled);
    this.#filled = Math.max(0, this.#filled - end);
    this.#nFrames += frames;
    return result;
  }
}

/** Decode a stream. */
export class GraphDecoder<S> extends GraphStream {
  #graph: DecoderGraph<S>;
  #states: S;

  constructor(graph: DecoderGraph<S>) {
    super();
    this.#graph = graph;
    this.#states = graph.fresh();
  }

  /** Decode levels [F * 128] to samples [F * 9600]. */
  feed(levels: Uint8Array): Promise<Float32Array> {
    return this.queue.run(async () => {
      const wave = new Float32Array((levels.length / LATENT_WIDTH) * FRAME_SAMPLES);
      const step = FRAMES_PER_CALL * LATENT_WIDTH;
      for (let at = 0; at < levels.length; at += step) {
        const [part, states] = await this.run(() => this.#graph.run(levels.slice(at, at + step), this.#states));
        this.#states = states;
        wave.set(part, (at / LATENT_WIDTH) * FRAME_SAMPLES);
      }
      return wave;
    });
  }
}

/** Let other tasks of the thread run. `setTimeout` would wait for at least 4 ms. */
function pause(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

/** Concatenate frames. */
export function joined(parts: readonly Frames[]): Frames {
  const size = parts.reduce((sum, part) => sum + part.levels.length, 0);
  const whole = { levels: new Uint8Array(size), latents: new Float32Array(size) };
  let at = 0;
  for (const { levels, latents } of parts) {
    whole.levels.set(levels, at);
    whole.latents.set(latents, at);
    at += levels.length;
  }
  return whole;
}
