/** Decode range-coded chunks; see `docs/format.md`. */

import { LATENT_WIDTH, N_LEVELS } from "./tokens.js";

const TOTAL = 2 ** 24;
const SHARED_WEIGHT = 48;
const EARLY_FRAMES = 16; // frames in which a level also counts for its neighbors
const MASK = 2n ** 64n - 1n;

/** Decode a payload to levels [F * 128], or return null if it is invalid. */
export function decodeRangeCoded(payload: Uint8Array, frames: number): Uint8Array | null {
  const coder = new RangeDecoder(payload);
  const model = new Model();
  const levels = new Uint8Array(frames * LATENT_WIDTH);
  for (let frame = 0; frame < frames; frame++) {
    const part = levels.subarray(frame * LATENT_WIDTH, (frame + 1) * LATENT_WIDTH);
    model.prepare();
    for (let d = 0; d < LATENT_WIDTH; d++) {
      const level = coder.next(model.table(d));
      if (level === null) return null;
      part[d] = level;
    }
    model.learn(part);
  }
  return levels;
}

/** Estimate the probabilities of the levels in the next frame, in integer arithmetic. */
class Model {
  #seen = new Float64Array(LATENT_WIDTH * N_LEVELS).fill(1);
  #shared = new Float64Array(N_LEVELS).fill(16);
  #sharedSum = 16 * N_LEVELS;
  #nFrames = 0;
  #sum = 0; // sum of `shared` at the start of the frame
  #weighted = new Float64Array(N_LEVELS);

  /** Start a frame: store the counts that all dimensions share. */
  prepare(): void {
    this.#sum = this.#sharedSum;
    for (let s = 0; s < N_LEVELS; s++) this.#weighted[s] = SHARED_WEIGHT * this.#shared[s];
  }

  /** Return the probabilities of the levels in dimension d, in units of 2^-24. */
  table(d: number): Float64Array {
    const table = new Float64Array(N_LEVELS);
    let mixedSum = 0;
    for (let s = 0; s < N_LEVELS; s++) {
      table[s] = this.#seen[d * N_LEVELS + s] * this.#sum + this.#weighted[s];
      mixedSum += table[s];
    }
    let sum = 0;
    for (let s = 0; s < N_LEVELS; s++) sum += table[s] = 1 + scaled(table[s], mixedSum);
    table[N_LEVELS - 1] += TOTAL - sum;
    return table;
  }

  learn(levels: Uint8Array): void {
    const early = this.#nFrames++ < EARLY_FRAMES;
    levels.forEach((level, d) => {
      const at = d * N_LEVELS + level;
      this.#seen[at] += 3;
      if (early && level > 0) this.#seen[at - 1]++;
      if (early && level < N_LEVELS - 1) this.#seen[at + 1]++;
      this.#shared[level]++;
    });
    this.#sharedSum += LATENT_WIDTH;
  }
}

/** Return value * (2^24 - 8) // sum, using BigInt for products above 2^53. */
function scaled(value: number, sum: number): number {
  const product = value * (TOTAL - N_LEVELS);
  if (product <= Number.MAX_SAFE_INTEGER) return Math.floor(product / sum);
  return Number((BigInt(value) * BigInt(TOTAL - N_LEVELS)) / BigInt(sum));
}

/** Read symbols from 32-bit words with a 64-bit state. */
class RangeDecoder {
  #view: DataView;
  #at = 0;
  #low = 0n;
  #range = MASK;
  #point: bigint;

  constructor(payload: Uint8Array) {
    this.#view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    this.#point = (this.#word() << 32n) | this.#word();
  }

  next(table: Float64Array): number | null {
    const scale = this.#range >> 24n;
    const quotient = Number(((this.#point - this.#low) & MASK) / scale);
    if (quotient >= TOTAL) return null;
    let [level, below] = [0, 0];
    while (below + table[level] <= quotient) below += table[level++];
    this.#low = (this.#low + scale * BigInt(below)) & MASK;
    this.#range = scale * BigInt(table[level]);
    if (this.#range >> 32n === 0n) {
      this.#low = (this.#low << 32n) & MASK;
      this.#range = (this.#range << 32n) & MASK;
      this.#point = ((this.#point << 32n) & MASK) | this.#word();
    }
    return level;
  }

  /** Return the next word, or 0 after the last word. */
  #word(): bigint {
    if (this.#at >= this.#view.byteLength) return 0n;
    this.#at += 4;
    return BigInt(this.#view.getUint32(this.#at - 4, true));
  }
}
