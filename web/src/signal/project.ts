/** Project vectors to the two directions in which they vary most (principal components). */

export interface Projection {
  mean: Float64Array;
  axes: [Float64Array, Float64Array];
}

/** Return the projection of vectors [n * width] that keeps most of their variance. It is computed by power iteration. */
export function principal(vectors: Float32Array, width: number): Projection {
  const n = vectors.length / width;
  const mean = new Float64Array(width);
  vectors.forEach((value, i) => (mean[i % width] += value / n));
  const covariance = new Float64Array(width * width);
  for (let i = 0; i < n; i++) {
    for (let a = 0; a < width; a++) {
      const left = vectors[i * width + a] - mean[a];
      for (let b = 0; b < width; b++) covariance[a * width + b] += (left * (vectors[i * width + b] - mean[b])) / n;
    }
  }
  const first = strongest(covariance, width);
  const value = quadratic(covariance, first);
  const rest = covariance.map((one, i) => one - value * first[Math.floor(i / width)] * first[i % width]);
  return { mean, axes: [first, strongest(rest, width)] };
}

export function project({ mean, axes }: Projection, vector: ArrayLike<number>): [number, number] {
  return axes.map((axis) => axis.reduce((sum, weight, d) => sum + weight * (vector[d] - mean[d]), 0)) as [number, number];
}

function strongest(matrix: Float64Array, width: number): Float64Array {
  let axis = Float64Array.from({ length: width }, (_, d) => 1 + d / width); // unlikely to be orthogonal to the result
  for (let step = 0; step < 200; step++) {
    const next = Float64Array.from({ length: width }, (_, a) => axis.reduce((sum, one, b) => sum + matrix[a * width + b] * one, 0));
    const length = Math.hypot(...next) || 1;
    axis = next.map((one) => one / length);
  }
  return axis;
}

function quadratic(matrix: Float64Array, axis: Float64Array): number {
  return axis.reduce((sum, one, a) => sum + one * axis.reduce((inner, other, b) => inner + matrix[a * axis.length + b] * other, 0), 0);
}
