/** The readout of waveforms. */

import { SAMPLE_RATE } from "silkcodec";
import { fixed } from "../text/format";

const PLACES = 600; // parts of a waveform that a readout distinguishes

/** Return the part of a waveform that contains a place (0..1), as its first sample and the sample after its last. */
function partAt(place: number, first: number, last: number): [number, number] {
  const length = (last - first) / PLACES;
  const from = first + Math.floor(Math.min(0.999999, Math.max(0, place)) * PLACES) * length;
  return [Math.floor(from), Math.max(Math.floor(from) + 1, Math.floor(from + length))];
}

/** Return the time, the lowest and highest sample, and the peak level at a place (0..1) of a waveform, as text. */
export function waveAt(wave: Float32Array, place: number, first: number, last: number): string {
  const [from, to] = partAt(place, first, last);
  let [low, high] = [Infinity, -Infinity];
  for (const sample of wave.subarray(from, to)) [low, high] = [Math.min(low, sample), Math.max(high, sample)];
  const at = `${fixed(from / SAMPLE_RATE, 3)} s`;
  if (low > high) return `${at}: no sound`;
  const peak = Math.max(Math.abs(low), Math.abs(high));
  const level = peak > 0 ? `${fixed(20 * Math.log10(peak), 0)} dBFS` : "silence";
  return `${at}: ${low === high ? fixed(low, 3) : `${fixed(low, 3)} to ${fixed(high, 3)}`}, ${level}`;
}

/** The distance between two places that the arrow keys move by, 0..1. */
export const STEP = 1 / PLACES;
