/** Project vectors to the two directions in which they vary most (principal components). */

export interface Projection {
  mean: Float64Array;
  axes: [Float64Array, Float64Array];
}

/** Return the projection of vectors [n * width] that keeps most of their variance. It is computed by power iteration. */
export function principal(vectors: Float32Array, width: number): Projection {
  const n = vectors.length / width;
  const mean = new Float64Array(width);
  for (let at = 0; at < vectors.length; at += width) for (let d = 0; d < width; d++) mean[d] += vectors[at + d] / n;
  const covariance = new Float64Array(width * width);
  const centered = new Float64Array(width);
  for (let at = 0; at < vectors.length; at += width) {
    for (let d = 0; d < width; d++) centered[d] = vectors[at + d] - mean[d];
    for (let a = 0; a < width; a++) for (let b = 0; b < width; b++) covariance[a * width + b] += (centered[a] * centered[b]) / n;
  }
  const first = strongest(covariance, width);
  const image = product(covariance, first);
  let value = 0; // the variance in the first direction
  for (let d = 0; d < width; d++) value += first[d] * image[d];
  const rest = covariance.map((one, i) => one - value * first[Math.floor(i / width)] * first[i % width]);
  return { mean, axes: [first, strongest(rest, width)] };
}

export function project({ mean, axes }: Projection, vector: ArrayLike<number>): [number, number] {
  const at: [number, number] = [0, 0];
  for (let axis = 0; axis < 2; axis++) for (let d = 0; d < mean.length; d++) at[axis] += axes[axis][d] * (vector[d] - mean[d]);
  return at;
}

function strongest(matrix: Float64Array, width: number): Float64Array {
  let axis = Float64Array.from({ length: width }, (_, d) => 1 + d / width); // unlikely to be orthogonal to the result
  for (let step = 0; step < 200; step++) {
    const next = product(matrix, axis);
    let squared = 0;
    for (let d = 0; d < width; d++) squared += next[d] * next[d];
    const length = Math.sqrt(squared) || 1;
    for (let d = 0; d < width; d++) next[d] /= length;
    axis = next;
  }
  return axis;
}

function product(matrix: Float64Array, vector: Float64Array): Float64Array<ArrayBuffer> {
  const width = vector.length;
  const result = new Float64Array(width);
  for (let a = 0; a < width; a++) for (let b = 0; b < width; b++) result[a] += matrix[a * width + b] * vector[b];
  return result;
}
