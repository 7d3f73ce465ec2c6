/** Quantizers small enough to watch: FSQ's bound and rounding, nearest entries, k-means, residual chains. */

import { N_LEVELS } from "silkcodec";

const HALF_RANGE = ((N_LEVELS - 1) * 1.001) / 2;
const SHIFT = Math.atanh(0.5 / HALF_RANGE);

/** FSQ squashes any number into -4..3, so that rounding gives 8 values (`silkcodec_torch/quantizers/fsq.py`). */
export function bound(value: number): number {
  return Math.tanh(value + SHIFT) * HALF_RANGE - 0.5;
}

/** Rounds as NumPy and ONNX do: halves to the even number. */
export function roundEven(value: number): number {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/** A bounded number's level, 0..7. */
export function levelOf(bounded: number): number {
  return Math.min(N_LEVELS - 1, Math.max(0, roundEven(bounded) + N_LEVELS / 2));
}

/** The entry nearest to `vector` in a flat table [n * width], and the squared distance. */
export function nearest(table: Float32Array, width: number, vector: ArrayLike<number>): { entry: number; squared: number } {
  let [entry, squared] = [0, Infinity];
  for (let row = 0, at = 0; at < table.length; row++, at += width) {
    let sum = 0;
    for (let d = 0; d < width && sum < squared; d++) sum += (table[at + d] - vector[d]) ** 2;
    if (sum < squared) [entry, squared] = [row, sum];
  }
  return { entry, squared };
}

export interface Stage {
  entry: number;
  added: Float32Array; // the entry itself
  left: Float32Array; // what is still missing after it
  rms: number; // of what is left
}

/** A residual chain: each codebook quantizes what the ones before it left. */
export function chain(books: readonly Float32Array[], vector: ArrayLike<number>): Stage[] {
  let left = Float32Array.from(vector as ArrayLike<number>);
  return books.map((book) => {
    const width = left.length;
    const { entry } = nearest(book, width, left);
    const added = book.subarray(entry * width, (entry + 1) * width);
    left = left.map((value, d) => value - added[d]);
    return { entry, added, left, rms: rms(left) };
  });
}

export function rms(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] ** 2;
  return Math.sqrt(sum / Math.max(1, values.length));
}

/** Learns k entries from points [n * width]: k-means++ starts, then Lloyd's steps. The same seed gives the same entries. */
export function kmeans(points: Float32Array, width: number, k: number, seed = 1, steps = 25): Float32Array {
  const n = points.length / width;
  const random = generator(seed);
  const point = (i: number) => points.subarray(i * width, (i + 1) * width);
  const entries = new Float32Array(k * width);
  entries.set(point(Math.floor(random() * n)));
  const distance = new Float64Array(n).fill(Infinity);
  for (let e = 1; e < k; e++) {
    const last = entries.subarray((e - 1) * width, e * width);
    let total = 0;
    for (let i = 0; i < n; i++) total += distance[i] = Math.min(distance[i], squaredDistance(point(i), last));
    let target = random() * total;
    let chosen = 0;
    while (chosen < n - 1 && (target -= distance[chosen]) > 0) chosen++;
    entries.set(point(chosen), e * width);
  }
  for (let step = 0; step < steps; step++) {
    const sums = new Float64Array(k * width);
    const counts = new Float64Array(k);
    for (let i = 0; i < n; i++) {
      const { entry } = nearest(entries, width, point(i));
      counts[entry]++;
      for (let d = 0; d < width; d++) sums[entry * width + d] += points[i * width + d];
    }
    let moved = 0;
    for (let e = 0; e < k; e++) {
      for (let d = 0; d < width && counts[e]; d++) {
        const mean = sums[e * width + d] / counts[e];
        moved = Math.max(moved, Math.abs(mean - entries[e * width + d]));
        entries[e * width + d] = mean;
      }
    }
    if (moved < 1e-4) break;
  }
  return entries;
}

function squaredDistance(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let d = 0; d < a.length; d++) sum += (a[d] - b[d]) ** 2;
  return sum;
}

/** Numbers in [0, 1) that are the same every time (mulberry32). */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
