/** The loudness scale that all spectrograms on the page share. */

import { DB, N_FFT, N_MELS, peak } from "../signal/mel";

/** Natural log mel magnitude of a sine wave at full scale: half of the sum of the Hann window. */
const FULL_SCALE = Math.log(N_FFT / 4);
/** From the top of the scale down to the colour of silence. */
export const RANGE_DB = 65;
/** The top of the scale is at least this loud, so that silence and faint noise are not drawn as loud sounds. */
export const LOWEST_TOP_DB = -60;

/** Natural log mel magnitude -> dB relative to a sine wave at full scale. */
export const toDb = (mel: number): number => (mel - FULL_SCALE) * DB;

/** The top of the scale for a spectrogram [C * 128], dB: its loudest point, or `LOWEST_TOP_DB`. */
export const topDb = (mel: Float32Array): number => Math.max(toDb(peak(mel)), LOWEST_TOP_DB);

/** How loud a band is in a column, on the scale below `top` dB: 0 (silence) to 1. Columns past the end are silent. */
export function shareOf(mel: Float32Array, top: number, column: number, band: number): number {
  return 1 + (toDb(mel[column * N_MELS + band] ?? -Infinity) - top) / RANGE_DB;
}

/** The natural log mel magnitude that a level in dB stands for. */
export const fromDb = (db: number): number => db / DB + FULL_SCALE;
