/**
 * Silk's tokens, as `silkcodec/tokens.py` has them: a frame is 128 levels of 0..7; neighbouring levels make one code,
 * the first least significant. Levels of F frames are one Uint8Array [F * 128], codes one array [F * K].
 */

export const SAMPLE_RATE = 24_000; // Hz
export const FRAME_SAMPLES = 9_600; // samples in one frame: 400 ms
export const FRAME_S = FRAME_SAMPLES / SAMPLE_RATE;
export const LATENT_WIDTH = 128; // numbers in one frame
export const N_LEVELS = 8; // values of each
export const MIDDLE_LEVEL = N_LEVELS / 2; // 0 in the latent: what stands in for a number that was dropped
export const DIMS_PER_TOKEN = 7; // Silk's own grouping
export const MAX_DIMS_PER_TOKEN = 17; // 8^17 = 2^51: the widest code that a JavaScript number holds exactly
export const BITS_PER_FRAME = 3 * LATENT_WIDTH;

/** What the reader can be told: what must hold, what was got, what to do. */
export class SilkError extends Error {
  override name = "SilkError";
}

/** Frames that hold so many samples: the last one is filled up. */
export function nFrames(nSamples: number): number {
  return Math.ceil(nSamples / FRAME_SAMPLES);
}

/** The size of each codebook: 8^dims, and what is left over at the end. */
export function codebookSizes(dimsPerToken = DIMS_PER_TOKEN): number[] {
  checkDims(dimsPerToken);
  const rest = LATENT_WIDTH % dimsPerToken;
  const sizes = Array<number>(Math.floor(LATENT_WIDTH / dimsPerToken)).fill(N_LEVELS ** dimsPerToken);
  return rest ? [...sizes, N_LEVELS ** rest] : sizes;
}

/** Levels [F * 128] -> codes [F * K]. */
export function levelsToCodes(levels: Uint8Array, dimsPerToken = DIMS_PER_TOKEN): number[] {
  const k = codebookSizes(dimsPerToken).length;
  const frames = checkFrames(levels);
  const codes = Array<number>(frames * k).fill(0);
  for (let frame = 0; frame < frames; frame++) {
    for (let d = LATENT_WIDTH - 1; d >= 0; d--) {
      const level = levels[frame * LATENT_WIDTH + d];
      if (level >= N_LEVELS) throw new SilkError(`Levels must be 0..${N_LEVELS - 1}; got ${level}.`);
      const code = frame * k + Math.floor(d / dimsPerToken);
      codes[code] = codes[code] * N_LEVELS + level;
    }
  }
  return codes;
}

/** Codes [F * K] -> levels [F * 128]: the inverse of `levelsToCodes`. */
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

/** Levels [F * 128] -> 48 bytes a frame: level i is bits 3i..3i+2 of a little-endian number. */
export function packLevels(levels: Uint8Array): Uint8Array {
  const packed = new Uint8Array((checkFrames(levels) * BITS_PER_FRAME) / 8);
  levels.forEach((level, i) => {
    const bit = 3 * i; // 128 levels are 48 whole bytes, so frames follow one another without a gap
    const shifted = level << (bit & 7);
    packed[bit >> 3] |= shifted & 255;
    if (shifted > 255) packed[(bit >> 3) + 1] |= shifted >> 8;
  });
  return packed;
}

/** 48 bytes a frame -> levels [F * 128]. Any bytes are levels. */
export function unpackLevels(packed: Uint8Array): Uint8Array {
  const levels = new Uint8Array((packed.length * 8) / 3);
  for (let i = 0; i < levels.length; i++) {
    const bit = 3 * i;
    const pair = packed[bit >> 3] | ((packed[(bit >> 3) + 1] ?? 0) << 8);
    levels[i] = (pair >> (bit & 7)) & 7;
  }
  return levels;
}

function checkDims(dims: number): void {
  if (!Number.isInteger(dims) || dims < 1 || dims > MAX_DIMS_PER_TOKEN) {
    throw new SilkError(`Numbers to a token must be 1..${MAX_DIMS_PER_TOKEN}; got ${dims}.`);
  }
}

function checkFrames(levels: Uint8Array): number {
  if (levels.length % LATENT_WIDTH) throw new SilkError(`Levels must be whole frames of ${LATENT_WIDTH}; got ${levels.length}.`);
  return levels.length / LATENT_WIDTH;
}
