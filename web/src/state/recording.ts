/** A recording with all its stages, and where recordings come from. */

import { DB, logMel, logMelWithPauses } from "../signal/mel";
import { LOWEST_DB, shapesOf, type Shapes } from "../signal/shapes";
import { LOWEST_TOP_DB, fromDb } from "./loudness";
import { FRAME_SAMPLES, LATENT_WIDTH, SAMPLE_RATE, SilkError } from "silkcodec";

export interface Recording {
  name: string; // of downloads, without a suffix
  title: string;
  source: "sample" | "file" | "microphone" | "silk";
  codec: string; // id of the codec that made the tokens
  wave: Float32Array; // [T] at 24 kHz; for a .silk file, the decoded audio
  latents: Float32Array; // [F * 128], before rounding; for a .silk file, the rounded numbers
  levels: Uint8Array; // [F * 128]
  decoded: Float32Array; // [T]
  gain?: number; // of a .silk file that was normalized; `decoded` includes it
}

export interface RecordedStages {
  codec: string;
  layers: Layer[]; // in the order of NAME.inside.bin
  network: Network;
  recordings: Record<string, { n_samples: number; n_frames: number; full_scale: number }>;
}

export interface Layer {
  part: "encoder" | "decoder";
  kind: "convolution" | "transformer" | "spectrum";
  number: number; // from 1
  rate_hz: number;
  rows: number; // values in one column
}

/** Sizes of the network that the text states. */
export interface Network {
  conv_width: number;
  encoder_convs: number;
  decoder_convs: number;
  width: number;
  encoder_layers: number;
  decoder_layers: number;
  past_frames: number;
  noise: boolean; // whether the decoder adds noise with a predicted spectrum
  past_columns: number; // number of columns that a convolution reads before the current one
}

export const SAMPLES = [
  { name: "english", title: "English", about: "a coffee order" },
  { name: "mandarin", title: "Mandarin", about: "single syllables" },
  { name: "arabic", title: "Arabic", about: "command words" },
];

export function duration_s(recording: Recording): number {
  return recording.wave.length / SAMPLE_RATE;
}

export function framesOf(recording: Recording): number {
  return recording.levels.length / LATENT_WIDTH;
}

/** Start and end of a frame, seconds. The last frame ends with the recording. */
export function frameSpan_s(recording: Recording, frame: number): [number, number] {
  return [(frame * FRAME_SAMPLES) / SAMPLE_RATE, Math.min(duration_s(recording), ((frame + 1) * FRAME_SAMPLES) / SAMPLE_RATE)];
}

/** Return the peak of a waveform, at least 0.01, so that silence does not fill a figure. */
export function peakOf(wave: Float32Array): number {
  return wave.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0.01);
}

/** Description of the recorded stages of all samples, as `web/make_data.py` writes it. */
export async function fetchStages(): Promise<RecordedStages> {
  const response = await fetch("data/recordings.json").catch(() => null);
  const stages = response?.ok ? await response.json().catch(() => null) : null;
  if (!stages) throw new SilkError("The data for the page did not load. Check the network and reload the page.");
  return stages as RecordedStages;
}

/** A sample with its recorded stages, as `web/make_data.py` writes them. */
export async function fetchSample(stages: RecordedStages, name: string): Promise<Recording> {
  const title = SAMPLES.find((sample) => sample.name === name)!.title;
  const { n_samples, n_frames, full_scale } = stages.recordings[name];
  const response = await fetch(`data/${name}.bin`).catch(() => null);
  if (!response?.ok) throw new SilkError(`The sample “${title}” could not be loaded. Check the network and choose it again.`);
  const bytes = await response.arrayBuffer();
  const numbers = n_frames * LATENT_WIDTH;
  const pcm = (at: number) => Float32Array.from(new Int16Array(bytes, at, n_samples), (value) => Math.fround(value) / full_scale);
  return {
    name,
    title,
    source: "sample",
    codec: stages.codec,
    wave: pcm(0),
    decoded: pcm(2 * n_samples),
    latents: fromHalf(new Uint16Array(bytes, 4 * n_samples, numbers)),
    levels: new Uint8Array(bytes, 4 * n_samples + 2 * numbers, numbers),
  };
}

/** float16 -> float32; not every browser has Float16Array. */
export function fromHalf(halves: Uint16Array): Float32Array {
  return Float32Array.from(halves, (half) => {
    const [exponent, fraction] = [(half >> 10) & 31, half & 1023];
    const size = exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24;
    return half & 0x8000 ? -size : size;
  });
}

const mels = new WeakMap<Float32Array, Float32Array>();
const shapes = new WeakMap<Float32Array, Shapes>();

/** The spectrogram of a wave; computed once. */
export function melOf(wave: Float32Array): Float32Array {
  return remembered(mels, wave, logMel);
}

/** Compute the spectrogram of a wave before a figure needs it, so that no figure has to wait for it. */
export async function prepareMel(wave: Float32Array): Promise<void> {
  if (!mels.has(wave)) mels.set(wave, await logMelWithPauses(wave));
}

/** The shapes of the spectrum of a wave; computed once. */
export function shapesOfWave(wave: Float32Array): Shapes {
  return remembered(shapes, wave, (one) => audible(shapesOf(melOf(one))));
}

/** Make the shapes of a nearly silent recording relative to an audible level, so that silence is not at 0 dB. */
function audible(found: Shapes): Shapes {
  const least = fromDb(LOWEST_TOP_DB);
  if (found.loud >= least) return found;
  const lower_db = (least - found.loud) * DB;
  return { ...found, loud: least, vectors: found.vectors.map((value) => Math.max(LOWEST_DB, value - lower_db)) };
}

function remembered<T>(cache: WeakMap<Float32Array, T>, key: Float32Array, make: (key: Float32Array) => T): T {
  let found = cache.get(key);
  if (found === undefined) cache.set(key, (found = make(key)));
  return found;
}
