/**
 * Compute the log-mel spectrogram like `silkcodec/mel.py`. Column j (10 ms) covers the samples [240 j - 304, 240 j + 720).
 * The graph of the encoder computes its own spectrogram. This one is for the figures.
 */

import { fft } from "./fft";
import { Pauses } from "./pauses";
import { FRAME_SAMPLES, SAMPLE_RATE, nFrames } from "silkcodec";

export const N_FFT = 1024;
export const HOP = 240; // samples between columns
export const COLUMN_S = HOP / SAMPLE_RATE;
export const N_MELS = 128;
export const HISTORY = 304; // samples before the start of a column that it covers
export const COLUMNS_PER_FRAME = FRAME_SAMPLES / HOP;
const FLOOR = 1e-5;

/** Slaney's mel scale: 3 mel per 200 Hz below 1 kHz, then 27 mel per factor of 6.4. */
export function hzToMel(hz: number): number {
  return hz < 1000 ? (hz * 3) / 200 : 15 + (27 / Math.log(6.4)) * Math.log(hz / 1000);
}

export function melToHz(mel: number): number {
  return mel < 15 ? (mel * 200) / 3 : 1000 * Math.exp((Math.log(6.4) / 27) * (mel - 15));
}

/** Center of each band in Hz, with one more value below the first band and one above the last. */
export const BAND_EDGES_HZ = Float64Array.from({ length: N_MELS + 2 }, (_, i) =>
  melToHz((hzToMel(SAMPLE_RATE / 2) * i) / (N_MELS + 1)),
);

export function bandHz(band: number): number {
  return BAND_EDGES_HZ[band + 1];
}

interface Triangle {
  first: number; // bin
  weights: Float64Array;
}

/** Return triangles of height 1. Each contains only the weights of the bins that it covers. */
export const FILTERS: Triangle[] = Array.from({ length: N_MELS }, (_, band) => {
  const [low, top, high] = BAND_EDGES_HZ.subarray(band, band + 3);
  const all = Array.from({ length: N_FFT / 2 + 1 }, (_, bin) => {
    const hz = (bin * SAMPLE_RATE) / N_FFT;
    return Math.max(0, Math.min((hz - low) / (top - low), (high - hz) / (high - top)));
  });
  const first = Math.max(0, all.findIndex((weight) => weight > 0));
  return { first, weights: Float64Array.from(all.slice(first, all.findLastIndex((weight) => weight > 0) + 1)) };
});

const HANN = Float64Array.from({ length: N_FFT }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / N_FFT));

/** Return natural-log mel magnitudes [C * 128] of a wave [T], at least log(1e-5). C = 40 ceil(T / 9600). */
export function logMel(wave: Float32Array): Float32Array {
  const mel = emptyMel(wave);
  addFrames(mel, wave, 0, nFrames(wave.length));
  return mel;
}

/** Like `logMel`, but with pauses for drawing and clicks. */
export async function logMelWithPauses(wave: Float32Array): Promise<Float32Array> {
  const mel = emptyMel(wave);
  const pauses = new Pauses();
  for (let frame = 0; frame < nFrames(wave.length); frame++) {
    addFrames(mel, wave, frame, frame + 1);
    await pauses.take();
  }
  return mel;
}

const emptyMel = (wave: Float32Array): Float32Array => new Float32Array(nFrames(wave.length) * COLUMNS_PER_FRAME * N_MELS);

/** Compute the columns of a range of frames. */
function addFrames(mel: Float32Array, wave: Float32Array, from: number, to: number): void {
  const re = new Float64Array(N_FFT);
  const im = new Float64Array(N_FFT);
  for (let column = from * COLUMNS_PER_FRAME; column < to * COLUMNS_PER_FRAME; column += 2) {
    // One complex transform computes two columns of real numbers: the even part is the first, the odd part is the second.
    const start = column * HOP - HISTORY;
    for (let n = 0; n < N_FFT; n++) {
      re[n] = HANN[n] * (wave[start + n] ?? 0);
      im[n] = HANN[n] * (wave[start + HOP + n] ?? 0);
    }
    fft(re, im);
    const first = new Float64Array(N_FFT / 2 + 1);
    const second = new Float64Array(N_FFT / 2 + 1);
    for (let k = 0; k <= N_FFT / 2; k++) {
      const mirror = (N_FFT - k) % N_FFT;
      first[k] = Math.hypot(re[k] + re[mirror], im[k] - im[mirror]) / 2;
      second[k] = Math.hypot(im[k] + im[mirror], re[mirror] - re[k]) / 2;
    }
    for (let band = 0; band < N_MELS; band++) {
      mel[column * N_MELS + band] = bandLog(first, FILTERS[band]);
      mel[(column + 1) * N_MELS + band] = bandLog(second, FILTERS[band]);
    }
  }
}

function bandLog(magnitude: Float64Array, { first, weights }: Triangle): number {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) sum += magnitude[first + i] * weights[i];
  return Math.log(Math.max(sum, FLOOR));
}

/** Return the root mean square difference between two spectrograms of the same length, in dB. */
export function melDistanceDb(a: Float32Array, b: Float32Array, floorDb = -60): number {
  const floor = peak(a) + floorDb / DB; // Levels far below the loudest one are inaudible.
  let sum = 0;
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) sum += (Math.max(a[i], floor) - Math.max(b[i], floor)) ** 2;
  return Math.sqrt(sum / Math.max(1, n)) * DB;
}

export const DB = 20 / Math.LN10; // dB per unit of natural log magnitude

export function peak(mel: Float32Array): number {
  let highest = -Infinity;
  for (const value of mel) if (value > highest) highest = value;
  return highest;
}
