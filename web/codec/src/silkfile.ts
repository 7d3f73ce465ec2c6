/** The .silk file, raw mode, byte for byte as `docs/format.md` describes it and `silkcodec/container/` writes it. */

import { crc32 } from "./crc32";
import { FRAME_SAMPLES, SAMPLE_RATE, SilkError, nFrames, packLevels, unpackLevels, LATENT_WIDTH } from "./tokens";

const MAGIC = [0x89, 0x53, 0x49, 0x4c, 0x4b, 0x0d, 0x0a, 0x1a];
const VERSION = 1;
const CHUNK_FRAMES = 25; // 10 s, as the package writes them
const MAX_CHUNK_FRAMES = 4096;
const PREFIX_BYTES = 12; // magic, version, length of the header
const FIXED_BYTES = PREFIX_BYTES + 18; // and the fields before the codec's name
const CHUNK_BYTES = 16;
const UNKNOWN = 2n ** 64n - 1n; // n_samples of a header that was written before the end was known

export interface SilkFile {
  codec: string; // name and weights hash: "silk@0a1b2c3d4e5f"
  nSamples: number; // of the wave
  levels: Uint8Array; // [F * 128]
  dimsPerToken: number; // the grouping that a reader is given; it changes nothing in the frames
}

export function writeSilk({ codec, nSamples, levels, dimsPerToken }: SilkFile): Uint8Array<ArrayBuffer> {
  const frames = levels.length / LATENT_WIDTH;
  if (frames !== nFrames(nSamples) || frames < 1) {
    throw new SilkError(`${nSamples} samples make ${nFrames(nSamples)} frames; got ${frames}.`);
  }
  const header = makeHeader(codec, nSamples, dimsPerToken);
  const parts = [header];
  let crc = new DataView(header.buffer).getUint32(header.length - 4, true);
  const put = (kind: string, count: number, payload: Uint8Array) => {
    const head = new Uint8Array(CHUNK_BYTES);
    const view = new DataView(head.buffer);
    head.set(new TextEncoder().encode(kind));
    view.setUint32(4, count, true);
    view.setUint32(8, payload.length, true);
    crc = crc32(payload, crc32(head.subarray(0, 12), crc)); // each part vouches for all before it
    view.setUint32(12, crc, true);
    parts.push(head, payload as Uint8Array<ArrayBuffer>);
  };
  for (let first = 0; first < frames; first += CHUNK_FRAMES) {
    const last = Math.min(frames, first + CHUNK_FRAMES);
    put("RAW ", last - first, packLevels(levels.subarray(first * LATENT_WIDTH, last * LATENT_WIDTH)));
  }
  const end = new Uint8Array(8);
  new DataView(end.buffer).setBigUint64(0, BigInt(nSamples), true);
  put("END ", 0, end);
  return concatenate(parts);
}

export function readSilk(file: Uint8Array, name = "The file"): SilkFile {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const length = checkHeader(file, view, name);
  const codecBytes = view.getUint8(PREFIX_BYTES + 17);
  const dimsPerToken = view.getUint8(PREFIX_BYTES + 16);
  const claimed = view.getBigUint64(PREFIX_BYTES + 8, true);
  if (codecBytes !== length - FIXED_BYTES - 4 || dimsPerToken < 1 || dimsPerToken > 20 || claimed === 0n) {
    throw new SilkError(`${name} is no .silk file of version ${VERSION}: its header claims what no writer makes.`);
  }
  const codec = new TextDecoder().decode(file.subarray(FIXED_BYTES, FIXED_BYTES + codecBytes));
  const pieces: Uint8Array[] = [];
  let crc = view.getUint32(length - 4, true);
  let [offset, frames] = [length, 0];
  for (;;) {
    if (offset + CHUNK_BYTES > file.length) throw cutShort(name, file.length);
    const kind = new TextDecoder("latin1").decode(file.subarray(offset, offset + 4));
    const count = view.getUint32(offset + 4, true);
    const bytes = view.getUint32(offset + 8, true);
    if (kind === "CODE") {
      throw new SilkError(`${name} is range-coded, which this page does not read; \`silk decode\` does.`);
    }
    const possible = kind === "RAW " ? count >= 1 && count <= MAX_CHUNK_FRAMES && bytes === 48 * count : kind === "END " && !count && bytes === 8;
    if (!possible) throw damaged(name, offset, "no chunk looks like this");
    const payload = file.subarray(offset + CHUNK_BYTES, offset + CHUNK_BYTES + bytes);
    if (payload.length < bytes) throw cutShort(name, file.length);
    crc = crc32(payload, crc32(file.subarray(offset, offset + 12), crc));
    if (crc !== view.getUint32(offset + 12, true)) throw damaged(name, offset, "the checksum is wrong");
    const here = offset;
    offset += CHUNK_BYTES + bytes;
    if (kind === "RAW ") {
      pieces.push(unpackLevels(payload));
      frames += count;
      continue;
    }
    const nSamples = view.getBigUint64(here + CHUNK_BYTES, true);
    const agree = (claimed === UNKNOWN || claimed === nSamples) && nSamples > 0n && nFrames(Number(nSamples)) === frames;
    if (!agree) throw damaged(name, here, `${nSamples} samples do not fit ${frames} frames`);
    if (offset !== file.length) throw damaged(name, offset, "the recording ends here, but more bytes follow");
    return { codec, dimsPerToken, nSamples: Number(nSamples), levels: concatenate(pieces) };
  }
}

function makeHeader(codec: string, nSamples: number, dimsPerToken: number): Uint8Array<ArrayBuffer> {
  const name = new TextEncoder().encode(codec);
  const header = new Uint8Array(FIXED_BYTES + name.length + 4);
  const view = new DataView(header.buffer);
  header.set(MAGIC);
  view.setUint16(8, VERSION, true);
  view.setUint16(10, header.length, true);
  view.setUint32(12, SAMPLE_RATE, true);
  view.setUint32(16, FRAME_SAMPLES, true);
  view.setBigUint64(20, BigInt(nSamples), true);
  view.setUint8(28, dimsPerToken);
  view.setUint8(29, name.length);
  header.set(name, FIXED_BYTES);
  view.setUint32(header.length - 4, crc32(header.subarray(0, -4)), true);
  return header;
}

/** The length of a header that can be believed. */
function checkHeader(file: Uint8Array, view: DataView, name: string): number {
  if (MAGIC.some((byte, i) => file[i] !== byte)) throw new SilkError(`${name} must start as a .silk file does; it is something else.`);
  if (file.length < PREFIX_BYTES) throw cutShort(name, file.length);
  const length = view.getUint16(10, true);
  if (length < FIXED_BYTES + 4) throw damaged(name, 10, `a header has no ${length} bytes`);
  if (file.length < length) throw cutShort(name, file.length);
  if (crc32(file.subarray(0, length - 4)) !== view.getUint32(length - 4, true)) throw damaged(name, 0, "the header's checksum is wrong");
  const version = view.getUint16(8, true);
  if (version !== VERSION) throw new SilkError(`${name} is a .silk file of version ${version}; this page reads version ${VERSION}.`);
  if (view.getUint32(12, true) !== SAMPLE_RATE || view.getUint32(16, true) !== FRAME_SAMPLES) {
    throw damaged(name, 12, "Silk has frames of 9600 samples at 24000 Hz");
  }
  return length;
}

function damaged(name: string, offset: number, what: string): SilkError {
  return new SilkError(`${name} is damaged at byte ${offset}: ${what}.`);
}

function cutShort(name: string, length: number): SilkError {
  return new SilkError(`${name} is cut short: it ends at byte ${length}.`);
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
