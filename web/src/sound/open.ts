/** Convert audio files to mono samples at 24 kHz. Errors say why a file cannot be used. */

import { SAMPLE_RATE, SilkError } from "silkcodec";

export const LONGEST_S = 30; // in the figures; the command line has no limit
const LARGEST_BYTES = 200e6;
const SILENT = 1e-4; // -80 dB

export interface Opened {
  wave: Float32Array;
  note: string | null; // tells the reader that the recording was cut or is silent
}

export async function openSound(file: File): Promise<Opened> {
  if (file.size === 0) throw new SilkError(`“${file.name}” is empty.`);
  if (file.size > LARGEST_BYTES) {
    throw new SilkError(`“${file.name}” has ${Math.round(file.size / 1e6)} MB. The page reads files of up to ${LARGEST_BYTES / 1e6} MB. Use \`silk encode\` for larger files.`);
  }
  const bytes = await file.arrayBuffer();
  let decoded: AudioBuffer;
  try {
    decoded = await new OfflineAudioContext(1, 1, SAMPLE_RATE).decodeAudioData(bytes); // also resamples
  } catch {
    throw new SilkError(`“${file.name}” is not an audio file that this browser can read. WAV, FLAC, MP3, Ogg and M4A usually work.`);
  }
  return checked(mono(decoded));
}

/** Check samples, cut them to `LONGEST_S`, and report silence. */
export function checked(wave: Float32Array): Opened {
  if (!wave.length) throw new SilkError("The recording has no samples.");
  const notes: string[] = [];
  const longest = LONGEST_S * SAMPLE_RATE;
  if (wave.length > longest) {
    notes.push(`The recording is ${clock(wave.length / SAMPLE_RATE)} long. The figures show its first ${LONGEST_S} s.`);
    wave = wave.slice(0, longest);
  }
  let peak = 0;
  for (const sample of wave) {
    if (!Number.isFinite(sample)) throw new SilkError("The recording contains values that are not numbers (NaN or infinity).");
    peak = Math.max(peak, Math.abs(sample));
  }
  if (peak < SILENT) notes.push("It is silent. The figures show how the codec encodes silence.");
  if (peak > 1) wave = wave.map((sample) => sample / peak); // float files can exceed full scale
  return { wave, note: notes.join(" ") || null };
}

/** Resample to 24 kHz with the resampler of the browser. */
export async function resample(wave: Float32Array, sampleRate: number): Promise<Float32Array> {
  if (sampleRate === SAMPLE_RATE || !wave.length) return wave;
  const context = new OfflineAudioContext(1, Math.ceil((wave.length * SAMPLE_RATE) / sampleRate), SAMPLE_RATE);
  const buffer = context.createBuffer(1, wave.length, sampleRate);
  buffer.copyToChannel(wave as Float32Array<ArrayBuffer>, 0);
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(context.destination);
  source.start();
  return (await context.startRendering()).getChannelData(0);
}

function mono(buffer: AudioBuffer): Float32Array {
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, c) => buffer.getChannelData(c));
  if (channels.length === 1) return channels[0].slice();
  return channels[0].map((_, i) => channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length);
}

export function clock(seconds: number): string {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")} min`;
}
