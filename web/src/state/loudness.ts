/** The loudness scale that all spectrograms on the page share. */

import { BAND_EDGES_HZ, DB, N_FFT, N_MELS, peak } from "../signal/mel";

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

/** A band counts as empty if nearly all columns are this far below the top of the scale: resamplers and clicks leave traces. */
const EMPTY_DB = 50;
const CLICKS = 0.01; // of the columns

/** The frequency above which all bands are empty, Hz; 0 for silence, null if there is none. */
export function emptyAbove(mel: Float32Array, top: number): number | null {
  const columns = mel.length / N_MELS;
  for (let band = N_MELS - 1; band >= 0; band--) {
    let loud = 0;
    for (let column = 0; column < columns; column++) loud += Number(toDb(mel[column * N_MELS + band]) > top - EMPTY_DB);
    if (loud > CLICKS * columns) return band > N_MELS - 4 ? null : BAND_EDGES_HZ[band + 2];
  }
  return 0;
}
