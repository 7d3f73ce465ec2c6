/** The public interface of the codec. The web page imports nothing else of it. */

export { crc32 } from "./crc32";
export { Cancelled, Model, type Decoded, type Encoded } from "./model";
export { readSilk, writeSilk, type SilkFile } from "./silkfile";
export { StreamDecoder, StreamEncoder, type DecoderGraph, type EncodedFrame, type EncoderGraph } from "./stream";
export * from "./tokens";
