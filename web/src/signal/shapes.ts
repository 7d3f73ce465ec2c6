/**
 * The vectors of the figures on codebooks: 16 numbers describe the shape of the spectrum in 20 ms.
 * Each number is the mean of 8 mel bands over 2 columns, in dB relative to the loud level of the recording, at least -60 dB.
 * `web/fit_codebooks.py` computes the same vectors and fits the codebooks to them.
 */

import { COLUMN_S, DB, N_MELS, bandHz } from "./mel";

export const WIDTH = 16; // numbers in a vector
export const POOL_BANDS = N_MELS / WIDTH;
export const POOL_COLUMNS = 2;
export const SHAPE_S = POOL_COLUMNS * COLUMN_S;
export const LOWEST_DB = -60;

/** Return the center of a number's bands in Hz. */
export const shapeHz = (number: number): number => bandHz(Math.round((number + 0.5) * POOL_BANDS - 0.5));

export interface Shapes {
  vectors: Float32Array; // [n * 16], dB
  n: number;
  loud: number; // the natural log mel magnitude that is 0 dB
}

/** Return the vectors of a spectrogram [C * 128]. */
export function shapesOf(mel: Float32Array): Shapes {
  const loud = loudLevel(mel);
  const n = Math.floor(mel.length / N_MELS / POOL_COLUMNS);
  const vectors = new Float32Array(n * WIDTH);
  for (let i = 0; i < n; i++) {
    for (let w = 0; w < WIDTH; w++) {
      let sum = 0;
      for (let c = 0; c < POOL_COLUMNS; c++) {
        const first = (i * POOL_COLUMNS + c) * N_MELS + w * POOL_BANDS;
        for (let b = 0; b < POOL_BANDS; b++) sum += Math.max((mel[first + b] - loud) * DB, LOWEST_DB);
      }
      vectors[i * WIDTH + w] = sum / (POOL_COLUMNS * POOL_BANDS);
    }
  }
  return { vectors, n, loud };
}

/** Return the loud level: the 95th percentile over the columns of the loudest band. */
function loudLevel(mel: Float32Array): number {
  const columns = mel.length / N_MELS;
  const loudest = Float32Array.from({ length: columns }, (_, c) => {
    let highest = -Infinity;
    for (let b = 0; b < N_MELS; b++) highest = Math.max(highest, mel[c * N_MELS + b]);
    return highest;
  }).sort();
  return loudest[Math.floor(0.95 * (columns - 1))] ?? 0;
}
