/** Compare the real model in Node.js with the golden fixture in its weights folder. */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { inflateRawSync } from "node:zlib";
import { FRAME_SAMPLES, LATENT_WIDTH, DownloadError, SilkError, Tokens, load, readSilk, writeSilk, type Codec, type Frames } from "silkcodec";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const weights = fileURLToPath(new URL("../../src/silkcodec/silk/weights", import.meta.url));
const golden = readNpz(readFileSync(`${weights}/golden.npz`));
const wave = new Float32Array(golden.wave);
const levels = new Uint8Array(golden.levels);
const decoded = new Float32Array(golden.decoded);

describe("the model", () => {
  let codec: Codec;
  beforeAll(async () => {
    codec = await load({ weights });
  }, 60_000);
  afterAll(() => codec.close());

  test("has Python's tokens, from whole waves and streams", async () => {
    const shares: number[] = [];
    const tokens = await codec.encode(wave, { onProgress: (share) => shares.push(share) });
    expect(tokens.codec).toMatch(/^silk@[0-9a-f]{12}$/);
    expect(tokens.nSamples).toBe(wave.length);
    expect(tokens.levels).toEqual(levels);
    expect(tokens.latents!.length).toBe(levels.length);
    expect(shares.at(-1)).toBe(1);

    const oneByOne = codec.encoder(); // One frame per call returns the same numbers as five.
    const single: Promise<Frames>[] = [];
    for (let at = 0; at < wave.length; at += FRAME_SAMPLES) single.push(oneByOne.feed(wave.subarray(at, at + FRAME_SAMPLES)));
    single.push(oneByOne.flush());
    expect(Float32Array.from((await Promise.all(single)).flatMap((frames) => [...frames.latents]))).toEqual(tokens.latents);

    const stream = codec.encoder();
    const calls: Promise<Frames>[] = [];
    for (let at = 0; at < wave.length; at += 1_234) calls.push(stream.feed(wave.subarray(at, at + 1_234)));
    calls.push(stream.flush());
    expect(Uint8Array.from((await Promise.all(calls)).flatMap((frames) => [...frames.levels]))).toEqual(levels);
    expect([stream.nSamples, stream.nFrames]).toEqual([wave.length, levels.length / LATENT_WIDTH]);
    await expect(stream.feed(wave)).rejects.toThrow("closed");
  }, 60_000);

  test("decodes as Python does, from files and streams, with the gain", async () => {
    const tokens = new Tokens({ codec: codec.id, nSamples: wave.length, levels, gain: 0.5 });
    const half = await codec.decode(readSilk(writeSilk(tokens)));
    expect(half.length).toBe(wave.length);
    expect(distance(half, decoded, 0.5)).toBeLessThan(1e-4);
    const stream = codec.decoder();
    const first = await stream.feed(levels.subarray(0, LATENT_WIDTH));
    const second = await stream.feed(levels.subarray(LATENT_WIDTH, 2 * LATENT_WIDTH));
    expect(distance(Float32Array.of(...first, ...second), decoded.subarray(0, 2 * FRAME_SAMPLES), 1)).toBeLessThan(1e-4);
  }, 60_000);

  test("decodes digital silence to digital silence, as Python does", async () => {
    const silence = await codec.decode(await codec.encode(new Float32Array(24_000)));
    expect([silence.length, silence.every((sample) => sample === 0)]).toEqual([24_000, true]);
  }, 60_000);

  test("decodes tokens from earlier weights with the same encoder, and refuses those of others", async () => {
    const config = JSON.parse(readFileSync(`${weights}/config.json`, "utf-8"));
    expect(codec.decodes).toEqual(config.decodes ?? []);
    const decodes = [...codec.decodes, "silk@0123456789ab"]; // After a change of the encoder, `codec.decodes` is empty.
    const fetch = (url: string | URL | Request) => {
      const name = String(url).split("/").at(-1)!;
      return Promise.resolve(new Response(name === "config.json" ? JSON.stringify({ ...config, decodes }) : readFileSync(`${weights}/${name}`)));
    };
    const newer = await load({ weights: "https://example.com/weights", fetch });
    expect(newer.decodes).toEqual(decodes);
    for (const earlier of decodes) {
      const result = await newer.decode({ codec: earlier, nSamples: wave.length, levels });
      expect(distance(result, decoded, 1)).toBeLessThan(1e-4);
    }
    await newer.close();
    await expect(codec.decode({ codec: "silk@000000000000", nSamples: wave.length, levels })).rejects.toThrow("The tokens must be from");
  }, 60_000);

  test("respects an AbortSignal in the middle of the work", async () => {
    const abort = new AbortController();
    const progress: number[] = [];
    const long = new Float32Array(100 * FRAME_SAMPLES);
    const work = codec.encode(long, { signal: abort.signal, onProgress: (share) => (progress.push(share), abort.abort()) });
    await expect(work).rejects.toMatchObject({ name: "AbortError" });
    expect(progress.length).toBe(1);
    await expect(codec.decode({ codec: codec.id, nSamples: wave.length, levels }, { signal: AbortSignal.abort("why") })).rejects.toBe("why");
    await expect(codec.encoder({ signal: AbortSignal.abort() }).feed(wave)).rejects.toMatchObject({ name: "AbortError" });
  }, 60_000);

  test("rejects what it cannot encode or decode", async () => {
    await expect(codec.encode(new Float32Array(0))).rejects.toThrow("empty");
    await expect(codec.encode(Float32Array.of(0, NaN))).rejects.toThrow("finite; got NaN");
    await expect(codec.encode([0] as unknown as Float32Array)).rejects.toThrow("Float32Array");
    await expect(codec.decode({ codec: "silk@0a1b2c3d4e5f", nSamples: wave.length, levels })).rejects.toThrow("got tokens from silk@0a1b2c3d4e5f");
    await expect(codec.decoder().feed(Uint8Array.of(1, 2))).rejects.toThrow("whole frames");
  });
});

test("a closed codec reports it, also to calls that are waiting", async () => {
  const codec = await load({ weights });
  const waiting = expect(codec.encode(wave)).rejects.toThrow("closed");
  await codec.close();
  await waiting;
  await codec.close();
  await expect(codec.encode(wave)).rejects.toThrow("closed");
  expect(() => codec.decoder()).toThrow(SilkError);
}, 60_000);

test("weights that cannot be loaded are reported, and loading can be aborted", async () => {
  await expect(load({ weights: "no/such/folder" })).rejects.toThrow(DownloadError);
  await expect(load({ weights: "no/such/folder" })).rejects.toThrow(/could not be loaded: .*no\/such\/folder\/config.json/);
  await expect(load({ weights, signal: AbortSignal.abort() })).rejects.toMatchObject({ name: "AbortError" });
  const broken = () => new ReadableStream({ pull: (stream) => stream.error(new TypeError("network error")) });
  const cut = (url: string | URL | Request) => Promise.resolve(String(url).endsWith(".json") ? new Response(readFileSync(`${weights}/config.json`)) : new Response(broken()));
  const interrupted = load({ weights: "https://example.com/weights", fetch: cut });
  await expect(interrupted).rejects.toThrow(/could not be loaded: https:.*\.onnx \(network error\)/);
  const abort = new AbortController();
  const loading = load({ weights, signal: abort.signal, onProgress: () => abort.abort() });
  await expect(loading).rejects.toMatchObject({ name: "AbortError" });
}, 60_000);

/** Return the largest difference from `factor` times the other wave. */
function distance(a: Float32Array, b: Float32Array, factor: number): number {
  expect(a.length).toBe(b.length);
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - factor * b[i])), 0);
}

/** Return the data of each array in an .npz file, without the types. */
function readNpz(file: Buffer): Record<string, ArrayBuffer> {
  const arrays: Record<string, ArrayBuffer> = {};
  let at = file.readUInt32LE(file.lastIndexOf("PK\x05\x06", undefined, "latin1") + 16); // the central directory
  while (file.toString("latin1", at, at + 4) === "PK\x01\x02") {
    const [method, size, name, extra, comment] = [10, 20, 28, 30, 32].map((field) => (field === 20 ? file.readUInt32LE(at + field) : file.readUInt16LE(at + field)));
    const local = file.readUInt32LE(at + 42);
    const start = local + 30 + file.readUInt16LE(local + 26) + file.readUInt16LE(local + 28);
    const packed = file.subarray(start, start + size);
    const npy = method ? inflateRawSync(packed) : packed;
    const data = npy.subarray(10 + npy.readUInt16LE(8)); // after the header of .npy version 1
    arrays[file.toString("latin1", at + 46, at + 46 + name - 4)] = Uint8Array.from(data).buffer;
    at += 46 + name + extra + comment;
  }
  return arrays;
}
