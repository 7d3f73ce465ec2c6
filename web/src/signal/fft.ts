/** Compute a radix-2 FFT in place. `re` and `im` are float64 [n], and n is a power of 2. The inverse is not divided by n. */
export function fft(re: Float64Array, im: Float64Array, inverse = false): void {
  const n = re.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j], re[i]];
      [im[i], im[j]] = [im[j], im[i]];
    }
  }
  const { cos, sin } = turn(n);
  const sign = inverse ? 1 : -1;
  for (let size = 2; size <= n; size *= 2) {
    const half = size / 2;
    const step = n / size;
    for (let start = 0; start < n; start += size) {
      for (let k = 0; k < half; k++) {
        const [a, b] = [start + k, start + k + half];
        const c = cos[k * step];
        const s = sign * sin[k * step];
        const [x, y] = [re[b] * c - im[b] * s, re[b] * s + im[b] * c];
        re[b] = re[a] - x;
        im[b] = im[a] - y;
        re[a] += x;
        im[a] += y;
      }
    }
  }
}

const turns = new Map<number, { cos: Float64Array; sin: Float64Array }>();

function turn(n: number): { cos: Float64Array; sin: Float64Array } {
  let found = turns.get(n);
  if (!found) {
    const angle = (_: unknown, k: number) => (2 * Math.PI * k) / n;
    const angles = Float64Array.from({ length: n / 2 }, angle);
    found = { cos: angles.map(Math.cos), sin: angles.map(Math.sin) };
    turns.set(n, found);
  }
  return found;
}
