/** The level scale of all spectrograms on the page. */

import { BAND_EDGES_HZ, DB, N_FFT, N_MELS, peak } from "../signal/mel";

/** Natural log mel magnitude of a full-scale sine wave. The magnitude is half of the sum of the Hann window. */
const FULL_SCALE = Math.log(N_FFT / 4);
/** Range of the color scale. Lower levels have the color of silence. */
export const RANGE_DB = 65;
/** Lowest allowed top of the scale, so that silence and faint noise do not look loud. */
export const LOWEST_TOP_DB = -60;

/** Convert a natural log mel magnitude to dB relative to a full-scale sine wave. */
export const toDb = (mel: number): number => (mel - FULL_SCALE) * DB;

/** Return the top of the scale for a spectrogram [C * 128] in dB: its highest level, at least `LOWEST_TOP_DB`. */
export const topDb = (mel: Float32Array): number => Math.max(toDb(peak(mel)), LOWEST_TOP_DB);

/** Return the level of a band in a column on the color scale: 1 at `top` dB, 0 at its lower end. Columns past the end are silent. */
export function shareOf(mel: Float32Array, top: number, column: number, band: number): number {
  return 1 + (toDb(mel[column * N_MELS + band] ?? -Infinity) - top) / RANGE_DB;
}

/** Convert dB relative to a full-scale sine wave to a natural log mel magnitude. */
export const fromDb = (db: number): number => db / DB + FULL_SCALE;

/** A band is empty if almost all columns are this far below the top. Resampling and clicks leave small traces. */
const EMPTY_DB = 50;
const CLICKS = 0.01; // share of the columns that can be louder

/** Return the frequency in Hz above which all bands are empty: 0 for silence, null if the highest bands are not empty. */
export function emptyAbove(mel: Float32Array, top: number): number | null {
  const columns = mel.length / N_MELS;
  for (let band = N_MELS - 1; band >= 0; band--) {
    let loud = 0;
    for (let column = 0; column < columns; column++) loud += Number(toDb(mel[column * N_MELS + band]) > top - EMPTY_DB);
    if (loud > CLICKS * columns) return band > N_MELS - 4 ? null : BAND_EDGES_HZ[band + 2];
  }
  return 0;
}
