/** The public interface of the package. */

export { Codec, StreamDecoder, StreamEncoder, load, type LoadOptions, type RunOptions } from "./codec.js";
export { DownloadError, SilkError } from "./errors.js";
export type { Runtime, WasmPaths } from "./graphs.js";
export { readSilk, writeSilk } from "./silkfile.js";
export type { Frames } from "./stream.js";
export {
  BITS_PER_FRAME,
  DIMS_PER_TOKEN,
  FRAME_S,
  FRAME_SAMPLES,
  LATENT_WIDTH,
  MIDDLE_LEVEL,
  N_LEVELS,
  SAMPLE_RATE,
  Tokens,
  codebookSizes,
  codesToLevels,
  levelsToCodes,
  nFrames,
  regroup,
  type TokensInit,
} from "./tokens.js";
export type { LoadProgress } from "./weights.js";
