/** Quantizers for the figures: the rounding of FSQ, nearest entries, k-means, residual chains. */

import { N_LEVELS } from "silkcodec";

/** Round like NumPy and ONNX: halves to the nearest even number. */
export function roundEven(value: number): number {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/** Return the level 0..7 of a bounded number. */
export function levelOf(bounded: number): number {
  return Math.min(N_LEVELS - 1, Math.max(0, roundEven(bounded) + N_LEVELS / 2));
}

/** Return the entry of a flat table [n * width] that is nearest to `vector`, and the squared distance. */
export function nearest(table: Float32Array, width: number, vector: ArrayLike<number>): { entry: number; squared: number } {
  const entry = nearestAt(table, width, vector, 0);
  let squared = 0;
  for (let d = 0; d < width; d++) squared += (table[entry * width + d] - vector[d]) ** 2;
  return { entry, squared };
}

/** Return the entry that is nearest to the vector which starts at index `at` of `vectors`. It allocates nothing, so it suits long loops. */
export function nearestAt(table: Float32Array, width: number, vectors: ArrayLike<number>, at: number): number {
  let [entry, squared] = [0, Infinity];
  for (let row = 0, start = 0; start < table.length; row++, start += width) {
    let sum = 0;
    for (let d = 0; d < width && sum < squared; d++) {
      const difference = table[start + d] - vectors[at + d];
      sum += difference * difference;
    }
    if (sum < squared) {
      entry = row;
      squared = sum;
    }
  }
  return entry;
}

export interface Stage {
  entry: number;
  added: Float32Array; // the selected entry
  left: Float32Array; // residual after this codebook
  rms: number; // root mean square of the residual
}

/** Quantize a vector with a residual chain: each codebook quantizes the residual of the codebooks before it. */
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

/** Learn k entries from points [n * width] with k-means++ and Lloyd's algorithm. The result depends only on the points and the seed. */
export function kmeans(points: Float32Array, width: number, k: number, seed = 1, steps = 25): Float32Array {
  const n = points.length / width;
  const random = generator(seed);
  const entries = new Float32Array(k * width);
  const put = (entry: number, i: number) => entries.set(points.subarray(i * width, (i + 1) * width), entry * width);
  put(0, Math.floor(random() * n));
  const distance = new Float64Array(n).fill(Infinity);
  for (let e = 1; e < k; e++) {
    const last = (e - 1) * width;
    let total = 0;
    for (let i = 0; i < n; i++) {
      let squared = 0;
      for (let d = 0; d < width; d++) {
        const difference = points[i * width + d] - entries[last + d];
        squared += difference * difference;
      }
      if (squared < distance[i]) distance[i] = squared;
      total += distance[i];
    }
    let target = random() * total;
    let chosen = 0;
    while (chosen < n - 1 && (target -= distance[chosen]) > 0) chosen++;
    put(e, chosen);
  }
  for (let step = 0; step < steps; step++) {
    const sums = new Float64Array(k * width);
    const counts = new Float64Array(k);
    for (let i = 0; i < n; i++) {
      const entry = nearestAt(entries, width, points, i * width);
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

/** Return a generator of reproducible pseudorandom numbers in [0, 1) (mulberry32). */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
