/** Compute the ticks of axes. */

import { SAMPLE_RATE } from "silkcodec";
import { N_MELS, hzToMel } from "../signal/mel";
import { hertz } from "../text/format";
import type { Tick } from "./Axes.svelte";

const STEPS_S = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10];

/** Return at most seven ticks at round times, in seconds. */
export function timeTicks(from_s: number, to_s: number): Tick[] {
  const step = STEPS_S.find((one) => (to_s - from_s) / one <= 6.5) ?? STEPS_S[STEPS_S.length - 1];
  const first = Math.ceil(from_s / step - 1e-6);
  const count = Math.floor(to_s / step + 1e-6) - first + 1;
  return Array.from({ length: Math.max(0, count) }, (_, i) => {
    const at_s = (first + i) * step;
    const at = Math.round((1e4 * (at_s - from_s)) / (to_s - from_s)) / 1e4; // equal for all frames, in spite of rounding errors
    return { at, text: `${+at_s.toFixed(2)} s` };
  });
}

/** Return ticks at the centers of some of n cells, which are numbered from 1. */
export function cellTicks(n: number, shown: number[], text: (cell: number) => string = String): Tick[] {
  return shown.filter((one) => one <= n).map((one) => ({ at: (one - 0.5) / n, text: text(one) }));
}

/** Return ticks at frequencies of an axis that has the same length for each mel band, from low to high. */
export const bandTicks = (frequencies_hz: number[]): Tick[] =>
  frequencies_hz.map((hz) => ({ at: (((N_MELS + 1) * hzToMel(hz)) / hzToMel(SAMPLE_RATE / 2) - 0.5) / N_MELS, text: hertz(hz) }));

/** Return ticks at values of a linear axis. Set `flip` for axes that grow upward. */
export function valueTicks(values: number[], low: number, high: number, text: (value: number) => string, flip = false): Tick[] {
  return values.map((value) => {
    const at = (value - low) / (high - low);
    return { at: flip ? 1 - at : at, text: text(value) };
  });
}
