/**
 * Silk tokens.
 *
 * A frame has 128 levels in 0..7. A code combines several neighboring levels, starting with the least significant
 * digit. Levels are stored as a Uint8Array [F * 128], and flat codes as an array [F * K].
 */

import { SilkError } from "./errors.js";

export const SAMPLE_RATE = 24_000; // Hz
export const FRAME_SAMPLES = 9_600; // samples in one frame: 400 ms
export const FRAME_S = FRAME_SAMPLES / SAMPLE_RATE;
export const LATENT_WIDTH = 128; // levels in one frame
export const N_LEVELS = 8;
export const MIDDLE_LEVEL = N_LEVELS / 2; // 0 in the latent; replaces missing levels
export const DIMS_PER_TOKEN = 7; // Silk's default grouping
export const MAX_DIMS_PER_TOKEN = 17; // 8^17 = 2^51; JavaScript numbers cannot represent larger codes exactly
export const BITS_PER_FRAME = 3 * LATENT_WIDTH;
export const FRAMES_PER_CALL = 5; // maximum number of frames in one call of a graph
const MAX_FILE_DIMS_PER_TOKEN = 20; // maximum number of levels per code in .silk files

/** Contents of `Tokens`. `decode` and `writeSilk` accept it in place of `Tokens`. */
export interface TokensInit {
  /** Name and hash of the weights: "silk@0a1b2c3d4e5f". */
  codec: string;
  /** Number of samples at 24 kHz. */
  nSamples: number;
  /** Quantization levels in 0..7, [F * 128] with F = ceil(nSamples / 9600). */
  levels: Uint8Array;
  /** Number of levels per code, 1..20. Default: 7. */
  dimsPerToken?: number;
  /** Gain to apply after decoding if the recording was normalized. Default: 1. */
  gain?: number;
  /** Latents before rounding, [F * 128]. Only `encode` sets them. */
  latents?: Float32Array | null;
}

/** The tokens of one recording. */
export class Tokens implements TokensInit {
  readonly codec: string;
  readonly nSamples: number;
  readonly levels: Uint8Array;
  readonly dimsPerToken: number;
  readonly gain: number;
  readonly latents: Float32Array | null;

  /** @throws SilkError: the number of levels does not match `nSamples`, or a level, `dimsPerToken` or `gain` is out of range. */
  constructor({ codec, nSamples, levels, dimsPerToken = DIMS_PER_TOKEN, gain = 1, latents = null }: TokensInit) {
    if (!Number.isSafeInteger(nSamples) || nSamples < 1) {
      throw new SilkError(`nSamples must be a whole number of at least 1; got ${nSamples}.`);
    }
    const frames = checkLevels(levels);
    if (frames !== nFrames(nSamples)) {
      throw new SilkError(`${nSamples} samples make ${nFrames(nSamples)} frames; got ${frames}.`);
    }
    checkDims(dimsPerToken, MAX_FILE_DIMS_PER_TOKEN);
    if (!(gain > 0 && gain < Infinity)) throw new SilkError(`gain must be a positive number; got ${gain}.`);
    this.codec = codec;
    this.nSamples = nSamples;
    this.levels = levels;
    this.dimsPerToken = dimsPerToken;
    this.gain = gain;
    this.latents = latents;
  }

  /** Create tokens from codes, K arrays of F codes each. */
  static fromCodes(codes: readonly (readonly number[])[], init: Omit<TokensInit, "levels">): Tokens {
    const frames = codes[0]?.length ?? 0;
    if (codes.some((one) => one.length !== frames)) throw new SilkError("All codebooks must have the same number of codes.");
    const flat = Array.from({ length: frames }, (_, f) => codes.map((one) => one[f])).flat();
    const sizes = codebookSizes(init.dimsPerToken);
    if (codes.length !== sizes.length) throw new SilkError(`Codes must have ${sizes.length} codebooks; got ${codes.length}.`);
    return new Tokens({ ...init, levels: codesToLevels(flat, init.dimsPerToken) });
  }

  get nFrames(): number {
    return this.levels.length / LATENT_WIDTH;
  }

  /** Size of each codebook. */
  get codebookSizes(): number[] {
    return codebookSizes(this.dimsPerToken);
  }

  /** The codes, K arrays of F codes each. */
  get codes(): number[][] {
    const flat = levelsToCodes(this.levels, this.dimsPerToken);
    const k = this.codebookSizes.length;
    return Array.from({ length: k }, (_, book) => Array.from({ length: this.nFrames }, (_, f) => flat[f * k + book]));
  }

  /** Return the same tokens with a different number of levels per code. */
  regroup(dimsPerToken: number): Tokens {
    const { codec, nSamples, levels, gain, latents } = this;
    return new Tokens({ codec, nSamples, levels, gain, latents, dimsPerToken });
  }
}

/** Convert flat codes [F * K] to a different number of levels per code, e.g. from 7 to 4. */
export function regroup(codes: readonly number[], from: number, to: number): number[] {
  return levelsToCodes(codesToLevels(codes, from), to);
}

/** Return the number of frames that cover `nSamples` samples. */
export function nFrames(nSamples: number): number {
  return Math.ceil(nSamples / FRAME_SAMPLES);
}

/** Return the size of each codebook. The last codebook is smaller if 128 is not a multiple of `dimsPerToken`. */
export function codebookSizes(dimsPerToken = DIMS_PER_TOKEN): number[] {
  checkDims(dimsPerToken);
  const rest = LATENT_WIDTH % dimsPerToken;
  const sizes = Array<number>(Math.floor(LATENT_WIDTH / dimsPerToken)).fill(N_LEVELS ** dimsPerToken);
  return rest ? [...sizes, N_LEVELS ** rest] : sizes;
}

/** Convert levels [F * 128] to flat codes [F * K]. */
export function levelsToCodes(levels: Uint8Array, dimsPerToken = DIMS_PER_TOKEN): number[] {
  const k = codebookSizes(dimsPerToken).length;
  const frames = checkLevels(levels);
  const codes = Array<number>(frames * k).fill(0);
  for (let frame = 0; frame < frames; frame++) {
    for (let d = LATENT_WIDTH - 1; d >= 0; d--) {
      const level = levels[frame * LATENT_WIDTH + d];
      const code = frame * k + Math.floor(d / dimsPerToken);
      codes[code] = codes[code] * N_LEVELS + level;
    }
  }
  return codes;
}

/** Convert flat codes [F * K] to levels [F * 128]. */
export function codesToLevels(codes: readonly number[], dimsPerToken = DIMS_PER_TOKEN): Uint8Array {
  const sizes = codebookSizes(dimsPerToken);
  const frames = codes.length / sizes.length;
  if (!Number.isInteger(frames)) throw new SilkError(`Codes must be whole frames of ${sizes.length}; got ${codes.length}.`);
  const levels = new Uint8Array(frames * LATENT_WIDTH);
  codes.forEach((code, i) => {
    const book = i % sizes.length;
    if (!Number.isInteger(code) || code < 0 || code >= sizes[book]) {
      throw new SilkError(`Codes of codebook ${book} must be 0..${sizes[book] - 1}; got ${code}.`);
    }
    const first = Math.floor(i / sizes.length) * LATENT_WIDTH + book * dimsPerToken;
    const width = Math.min(dimsPerToken, LATENT_WIDTH - book * dimsPerToken);
    for (let d = 0, left = code; d < width; d++, left = Math.floor(left / N_LEVELS)) levels[first + d] = left % N_LEVELS;
  });
  return levels;
}

/** Pack levels [F * 128] into 48 bytes per frame: level i is bits 3i..3i+2 of a little-endian number. */
export function packLevels(levels: Uint8Array): Uint8Array {
  const packed = new Uint8Array((checkLevels(levels) * BITS_PER_FRAME) / 8);
  levels.forEach((level, i) => {
    const bit = 3 * i; // 128 levels fill 48 bytes, so there is no gap between frames
    const shifted = level << (bit & 7);
    packed[bit >> 3] |= shifted & 255;
    if (shifted > 255) packed[(bit >> 3) + 1] |= shifted >> 8;
  });
  return packed;
}

/** Unpack 48 bytes per frame into levels [F * 128]. */
export function unpackLevels(packed: Uint8Array): Uint8Array {
  const levels = new Uint8Array((packed.length * 8) / 3);
  for (let i = 0; i < levels.length; i++) {
    const bit = 3 * i;
    const pair = packed[bit >> 3] | ((packed[(bit >> 3) + 1] ?? 0) << 8);
    levels[i] = (pair >> (bit & 7)) & 7;
  }
  return levels;
}

function checkDims(dims: number, highest = MAX_DIMS_PER_TOKEN): void {
  if (!Number.isInteger(dims) || dims < 1 || dims > highest) {
    throw new SilkError(`The number of levels per code must be 1..${highest}; got ${dims}.`);
  }
}

/** Check that levels are whole frames of values in 0..7, and return the number of frames. */
export function checkLevels(levels: Uint8Array): number {
  if (!(levels instanceof Uint8Array)) throw new SilkError("Levels must be a Uint8Array of frames of 128 numbers.");
  if (levels.length % LATENT_WIDTH) throw new SilkError(`Levels must be whole frames of ${LATENT_WIDTH}; got ${levels.length}.`);
  const wrong = levels.find((level) => level >= N_LEVELS);
  if (wrong !== undefined) throw new SilkError(`Levels must be 0..${N_LEVELS - 1}; got ${wrong}.`);
  return levels.length / LATENT_WIDTH;
}
