/** Read and write .silk files; see `docs/format.md`. */

import { crc32 } from "./crc32.js";
import { SilkError } from "./errors.js";
import { decodeRangeCoded } from "./rangecoder.js";
import { FRAME_SAMPLES, LATENT_WIDTH, SAMPLE_RATE, Tokens, nFrames, packLevels, unpackLevels, type TokensInit } from "./tokens.js";

const MAGIC = [0x89, 0x53, 0x49, 0x4c, 0x4b, 0x0d, 0x0a, 0x1a];
const VERSION = 2; // newest supported version; files without a gain have version 1
const CHUNK_FRAMES = 25; // 10 s, as in Python
const MAX_CHUNK_FRAMES = 4096;
const PREFIX_BYTES = 12; // magic, version, length of the header
const FIXED_BYTES = PREFIX_BYTES + 18; // the prefix and the fields before the name of the codec
const CRC_BYTES = 4;
const CHUNK_BYTES = 16;
const RAW_FRAME_BYTES = 48;
const MAX_CODEC_BYTES = 255;
const [MIN_GAIN, MAX_GAIN] = [Math.fround(1e-6), 1e6]; // as stored in the file
const UNKNOWN = 2n ** 64n - 1n; // n_samples in a header that was written before the length was known
const PRINTABLE = /^(?:[^\p{C}\p{Z}\ufffd]| )+$/u;

/**
 * Convert tokens to a .silk file.
 *
 * @throws SilkError: the number of levels does not match `nSamples`, or the codec name or the gain is invalid.
 */
export function writeSilk(init: TokensInit): Uint8Array<ArrayBuffer> {
  const tokens = init instanceof Tokens ? init : new Tokens(init);
  const header = makeHeader(tokens);
  const parts = [header];
  let crc = new DataView(header.buffer).getUint32(header.length - CRC_BYTES, true);
  const put = (kind: string, count: number, payload: Uint8Array) => {
    const head = new Uint8Array(CHUNK_BYTES);
    const view = new DataView(head.buffer);
    head.set(new TextEncoder().encode(kind));
    view.setUint32(4, count, true);
    view.setUint32(8, payload.length, true);
    crc = crc32(payload, crc32(head.subarray(0, 12), crc)); // continues from the previous chunk
    view.setUint32(12, crc, true);
    parts.push(head, payload as Uint8Array<ArrayBuffer>);
  };
  for (let first = 0; first < tokens.nFrames; first += CHUNK_FRAMES) {
    const last = Math.min(tokens.nFrames, first + CHUNK_FRAMES);
    put("RAW ", last - first, packLevels(tokens.levels.subarray(first * LATENT_WIDTH, last * LATENT_WIDTH)));
  }
  const end = new Uint8Array(8);
  new DataView(end.buffer).setBigUint64(0, BigInt(tokens.nSamples), true);
  put("END ", 0, end);
  return concatenate(parts);
}

/**
 * Read the tokens in a .silk file.
 *
 * @param file Contents of the file.
 * @param name Name of the file for error messages.
 * @throws SilkError: the file is damaged or is not a .silk file, or its format version is too new.
 */
export function readSilk(file: Uint8Array, name = "The file"): Tokens {
  const header = readHeader(file, name);
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const pieces: Uint8Array[] = [];
  let { crc, length: offset } = header;
  let frames = 0;
  for (;;) {
    if (offset + CHUNK_BYTES > file.length) throw truncated(name, file.length);
    const kind = new TextDecoder("latin1").decode(file.subarray(offset, offset + 4));
    const count = view.getUint32(offset + 4, true);
    const bytes = view.getUint32(offset + 8, true);
    if (!isPossibleChunk(kind, count, bytes)) throw damaged(name, offset, `no chunk has ${count} frames in ${bytes} bytes`);
    const payload = file.subarray(offset + CHUNK_BYTES, offset + CHUNK_BYTES + bytes);
    if (payload.length < bytes) throw truncated(name, file.length);
    crc = crc32(payload, crc32(file.subarray(offset, offset + 12), crc));
    if (crc !== view.getUint32(offset + 12, true)) throw damaged(name, offset, "the checksum is wrong");
    const here = offset;
    offset += CHUNK_BYTES + bytes;
    if (kind !== "END ") {
      frames += count;
      if (header.nSamples !== UNKNOWN && BigInt(frames - 1) * BigInt(FRAME_SAMPLES) >= header.nSamples) {
        throw damaged(name, here, "the chunks have more frames than the header declares");
      }
      const levels = kind === "RAW " ? unpackLevels(payload) : decodeRangeCoded(payload, count);
      if (!levels) throw damaged(name, here, "the range coder cannot read its payload");
      pieces.push(levels);
      continue;
    }
    const nSamples = view.getBigUint64(here + CHUNK_BYTES, true);
    const fits = nSamples > 0n && nFrames(Number(nSamples)) === frames && [UNKNOWN, nSamples].includes(header.nSamples);
    if (!fits) throw damaged(name, here, `${frames} frames do not match ${nSamples} samples`);
    if (offset !== file.length) throw damaged(name, offset, "the recording ends here, but more bytes follow");
    const { codec, dimsPerToken, gain } = header;
    return new Tokens({ codec, dimsPerToken, gain, nSamples: Number(nSamples), levels: concatenate(pieces) });
  }
}

/** Return whether a chunk header is valid. */
function isPossibleChunk(kind: string, count: number, bytes: number): boolean {
  if (kind === "END ") return count === 0 && bytes === 8;
  if (count < 1 || count > MAX_CHUNK_FRAMES) return false;
  if (kind === "RAW ") return bytes === RAW_FRAME_BYTES * count;
  return kind === "CODE" && bytes >= count && bytes < RAW_FRAME_BYTES * count && bytes % 4 === 0;
}

function makeHeader({ codec, nSamples, dimsPerToken, gain }: Tokens): Uint8Array<ArrayBuffer> {
  const name = new TextEncoder().encode(codec);
  if (!name.length || name.length > MAX_CODEC_BYTES || !PRINTABLE.test(codec)) {
    throw new SilkError(`codec must be a printable name of 1..${MAX_CODEC_BYTES} bytes; got ${JSON.stringify(codec)}.`);
  }
  if (!isPossibleGain(Math.fround(gain))) throw new SilkError(`gain must be 1e-6..1e6; got ${gain}.`);
  const version = gain === 1 ? 1 : 2;
  const header = new Uint8Array(FIXED_BYTES + name.length + (version >= 2 ? 4 : 0) + CRC_BYTES);
  const view = new DataView(header.buffer);
  header.set(MAGIC);
  view.setUint16(8, version, true);
  view.setUint16(10, header.length, true);
  view.setUint32(12, SAMPLE_RATE, true);
  view.setUint32(16, FRAME_SAMPLES, true);
  view.setBigUint64(20, BigInt(nSamples), true);
  view.setUint8(28, dimsPerToken);
  view.setUint8(29, name.length);
  header.set(name, FIXED_BYTES);
  if (version >= 2) view.setFloat32(FIXED_BYTES + name.length, gain, true);
  view.setUint32(header.length - CRC_BYTES, crc32(header.subarray(0, -CRC_BYTES)), true);
  return header;
}

interface Header {
  length: number;
  crc: number;
  codec: string;
  nSamples: bigint;
  dimsPerToken: number;
  gain: number;
}

function readHeader(file: Uint8Array, name: string): Header {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (!file.length) throw new SilkError(`${name} must be a .silk file; it is empty.`);
  if (MAGIC.some((byte, i) => i < file.length && file[i] !== byte)) {
    throw new SilkError(`${name} is not a .silk file: it does not start like one.`);
  }
  if (file.length < PREFIX_BYTES) throw truncated(name, file.length);
  const length = view.getUint16(10, true);
  if (length < PREFIX_BYTES + CRC_BYTES) throw damaged(name, 10, `a header cannot have ${length} bytes`);
  if (file.length < length) throw truncated(name, file.length);
  const crc = view.getUint32(length - CRC_BYTES, true);
  if (crc32(file.subarray(0, length - CRC_BYTES)) !== crc) throw damaged(name, 0, "the checksum of the header is wrong");
  const version = view.getUint16(8, true);
  if (version > VERSION) {
    throw new SilkError(`${name} is a .silk file of version ${version}; this package reads up to version ${VERSION}. Update it.`);
  }
  const end = length - CRC_BYTES - (version >= 2 ? 4 : 0); // end of the codec name
  // The checksum is correct, so the value was already invalid when the file was written.
  const impossible = (what: string) => new SilkError(`${name} is not a valid .silk file: it has ${what}.`);
  if (version < 1) throw impossible(`version ${version}`);
  if (end <= FIXED_BYTES) throw impossible(`a header of ${length} bytes`);
  const [sampleRate, frameSamples] = [view.getUint32(12, true), view.getUint32(16, true)];
  if (sampleRate !== SAMPLE_RATE || frameSamples !== FRAME_SAMPLES) {
    throw impossible(`frames of ${frameSamples} samples at ${sampleRate} Hz`);
  }
  const nSamples = view.getBigUint64(20, true);
  if (nSamples === 0n) throw impossible("0 samples");
  const dimsPerToken = view.getUint8(28);
  if (dimsPerToken < 1 || dimsPerToken > 20) throw impossible(`${dimsPerToken} levels in one code`);
  const codec = new TextDecoder("utf-8", { ignoreBOM: true }).decode(file.subarray(FIXED_BYTES, end));
  if (view.getUint8(29) !== end - FIXED_BYTES || !PRINTABLE.test(codec)) {
    throw impossible(`the codec name ${JSON.stringify(codec)}`);
  }
  const gain = version >= 2 ? view.getFloat32(end, true) : 1;
  if (!isPossibleGain(gain)) throw impossible(`a gain of ${gain}`);
  return { length, crc, codec, nSamples, dimsPerToken, gain };
}

function isPossibleGain(gain: number): boolean {
  return gain >= MIN_GAIN && gain <= MAX_GAIN;
}

function damaged(name: string, offset: number, what: string): SilkError {
  return new SilkError(`${name} is damaged at byte ${offset}: ${what}.`);
}

function truncated(name: string, length: number): SilkError {
  return new SilkError(`${name} is truncated: it ends at byte ${length}.`);
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
