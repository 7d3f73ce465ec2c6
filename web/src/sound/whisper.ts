/**
 * Play shapes of the spectrum as noise that is filtered with each shape for 20 ms. The shapes do not contain the pitch, so
 * speech becomes a whisper.
 */

import { fft } from "../signal/fft";
import { BAND_EDGES_HZ, DB, FILTERS, HOP, N_FFT, N_MELS, bandHz } from "../signal/mel";
import { Pauses } from "../signal/pauses";
import { generator } from "../signal/quantize";
import { LOWEST_DB, POOL_BANDS, POOL_COLUMNS, WIDTH } from "../signal/shapes";
import { SAMPLE_RATE } from "silkcodec";

const WINDOW = 4 * HOP; // The sum of overlapping Hann windows of four hops is constant.
const GAIN = 1 / 0.75; // so that the spectrogram of the noise has the requested magnitudes

/** For each bin: the two numbers to interpolate between, and the weight. Bins outside the range use only one number. */
const PLACES = Array.from({ length: N_FFT / 2 + 1 }, (_, bin) => {
  const hz = (bin * SAMPLE_RATE) / N_FFT;
  let band = 0;
  while (band < N_MELS - 1 && BAND_EDGES_HZ[band + 2] <= hz) band++;
  const fraction = Math.min(1, Math.max(0, (hz - bandHz(band)) / (BAND_EDGES_HZ[band + 2] - bandHz(band))));
  const place = Math.min(WIDTH - 1, Math.max(0, (band + fraction - (POOL_BANDS - 1) / 2) / POOL_BANDS));
  const low = Math.min(WIDTH - 2, Math.floor(place));
  // A band is the sum of the bins under its triangle, so divide by the area of the triangle.
  const area = FILTERS[band].weights.reduce((sum, weight) => sum + weight, 0);
  return { low, share: place - low, area: Math.max(0.5, area) };
});

/** Return n * 20 ms of whisper for vectors [n * 16] in dB relative to `loud`, a natural log mel magnitude. */
export async function whisper(vectors: Float32Array, loud: number, seed = 1): Promise<Float32Array> {
  const frames = (vectors.length / WIDTH) * POOL_COLUMNS;
  const wave = new Float32Array(frames * HOP + WINDOW);
  const random = generator(seed);
  const [re, im] = [new Float64Array(N_FFT), new Float64Array(N_FFT)];
  const pauses = new Pauses();
  for (let frame = 0; frame < frames; frame++) {
    await pauses.take();
    const at = Math.floor(frame / POOL_COLUMNS) * WIDTH;
    re.fill(0);
    im.fill(0);
    for (let bin = 1; bin < N_FFT / 2; bin++) {
      const { low, share, area } = PLACES[bin];
      const db = vectors[at + low] * (1 - share) + vectors[at + low + 1] * share;
      if (db < LOWEST_DB + 2) continue;
      const magnitude = Math.exp(loud + db / DB) / area;
      const phase = 2 * Math.PI * random();
      re[bin] = magnitude * Math.cos(phase);
      im[bin] = magnitude * Math.sin(phase);
      re[N_FFT - bin] = re[bin];
      im[N_FFT - bin] = -im[bin];
    }
    fft(re, im, true);
    for (let n = 0; n < WINDOW; n++) {
      const hann = 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / WINDOW);
      wave[frame * HOP + n] += (GAIN * hann * re[n]) / N_FFT;
    }
  }
  return wave.slice(WINDOW / 2 - HOP, WINDOW / 2 - HOP + frames * HOP); // The moment of a window is its center.
}
