/** Test the modules that need no model with fixtures, which are written by `make_data.py --fixtures` with the Python package. */

import { describe, expect, test } from "vitest";
import { Tokens, codebookSizes, codesToLevels, levelsToCodes, readSilk, regroup, writeSilk, FRAME_SAMPLES, LATENT_WIDTH, type Frames } from "silkcodec";
import { crc32 } from "../codec/src/crc32";
import { GraphDecoder, GraphEncoder, type EncoderGraph } from "../codec/src/stream";
import { packLevels, unpackLevels } from "../codec/src/tokens";
import { FILTERS, N_MELS, hzToMel, logMel, logMelWithPauses, melDistanceDb, melToHz } from "../src/signal/mel";
import { chain, kmeans, levelOf, nearest, rms, roundEven } from "../src/signal/quantize";
import { WIDTH, shapesOf } from "../src/signal/shapes";
import { whisper } from "../src/sound/whisper";
import { writeWav } from "../src/sound/wav";
import { fromHalf } from "../src/state/recording";
import fixtures from "./fixtures.json";

const bytes = (text: string) => Uint8Array.from(Buffer.from(text, "base64"));
const levels = bytes(fixtures.levels);
const file = { codec: fixtures.codec, nSamples: fixtures.n_samples, levels, dimsPerToken: 7 };

describe("tokens", () => {
  test("codes are Python's, in every grouping, and come back", () => {
    for (const [dims, codes] of Object.entries(fixtures.codes)) {
      expect(levelsToCodes(levels.subarray(0, 2 * LATENT_WIDTH), Number(dims))).toEqual(codes.flat());
      expect(codesToLevels(levelsToCodes(levels, Number(dims)), Number(dims))).toEqual(levels);
    }
  });

  test("19 groups: 18 of 8^7 and one of 8^2", () => {
    expect(codebookSizes()).toEqual([...Array(18).fill(2_097_152), 64]);
  });

  test("packing is 48 bytes a frame and comes back", () => {
    expect(packLevels(levels).length).toBe(27 * 48);
    expect(unpackLevels(packLevels(levels))).toEqual(levels);
  });

  test("what is no level and no code is refused", () => {
    expect(() => levelsToCodes(Uint8Array.from({ length: 128 }, () => 8))).toThrow("0..7");
    expect(() => codesToLevels(Array(19).fill(2_097_152))).toThrow("codebook 0");
    expect(() => levelsToCodes(levels, 18)).toThrow("1..17");
    expect(() => levelsToCodes([...levels] as unknown as Uint8Array)).toThrow("must be a Uint8Array");
    const wrong = Uint8Array.from(levels, (level, i) => (i === 200 ? 13 : level));
    expect(() => writeSilk({ ...file, levels: wrong })).toThrow("Levels must be 0..7; got 13.");
  });
});

describe("recordings", () => {
  const tokens = new Tokens(file);

  test("codes are K arrays, as in Python, and make the same levels again", () => {
    expect(tokens.codes.length).toBe(19);
    expect(tokens.codes.map((codes) => codes[1])).toEqual(fixtures.codes["7"][1]);
    expect(Tokens.fromCodes(tokens.codes, { codec: tokens.codec, nSamples: tokens.nSamples })).toEqual(tokens);
  });

  test("regrouping changes the codes and not the levels", () => {
    const regrouped = tokens.regroup(4);
    expect(regrouped.codebookSizes).toEqual(Array(32).fill(4096));
    expect(regrouped.levels).toEqual(levels);
    const flat = levelsToCodes(levels, 7);
    expect(regroup(flat, 7, 4)).toEqual(levelsToCodes(levels, 4));
    expect(regroup(regroup(flat, 7, 10), 10, 7)).toEqual(flat);
  });

  test("impossible tokens are rejected", () => {
    expect(() => new Tokens({ ...file, nSamples: 1 })).toThrow("1 samples make 1 frames; got 27");
    expect(() => new Tokens({ ...file, nSamples: 0 })).toThrow("at least 1");
    expect(() => new Tokens({ ...file, gain: NaN })).toThrow("gain must be a positive number; got NaN.");
    expect(() => tokens.regroup(21)).toThrow("1..20");
    expect(() => tokens.regroup(20).codes).toThrow("1..17");
    expect(() => Tokens.fromCodes(tokens.codes.slice(1), file)).toThrow("19 codebooks; got 18");
  });
});

describe(".silk", () => {
  const python = bytes(fixtures.silk);

  test("is written byte for byte as Python writes it", () => {
    expect(Buffer.from(writeSilk(file)).equals(Buffer.from(python))).toBe(true);
  });

  test("of Python is read", () => {
    expect(readSilk(python)).toEqual(new Tokens(file));
  });

  test("with a gain is version 2, as in Python", () => {
    const normalized = bytes(fixtures["silk_of_gain_0.3"]);
    const tokens = readSilk(normalized);
    expect(normalized[8]).toBe(2);
    expect(tokens.gain).toBe(Math.fround(0.3));
    expect(tokens.levels).toEqual(levels.subarray(0, 2 * LATENT_WIDTH));
    expect(Buffer.from(writeSilk({ ...tokens, gain: 0.3 })).equals(Buffer.from(normalized))).toBe(true);
    for (const gain of [1e-6, 1e6]) expect(readSilk(writeSilk({ ...file, gain })).gain).toBe(Math.fround(gain));
    for (const gain of [0, -1, 1e-7, 1e7, NaN]) expect(() => writeSilk({ ...file, gain })).toThrow("gain must be");
  });

  test("with range-coded chunks is read", () => {
    const coded = bytes(fixtures.peaked_coded);
    expect(coded.length).toBeLessThan(bytes(fixtures.peaked).length);
    expect(readSilk(coded)).toEqual(readSilk(bytes(fixtures.peaked)));
    const constant = readSilk(bytes(fixtures.constant_coded));
    expect(constant.nFrames).toBe(1500);
    expect(constant.levels.every((level) => level === 4)).toBe(true);
  });

  test.each(["silk", "silk_of_gain_0.3", "peaked_coded"] as const)("every damaged byte and every cut of %s is reported", (name) => {
    const whole = bytes(fixtures[name]);
    const step = name === "peaked_coded" ? 7 : 1;
    for (let at = 0; at < whole.length; at += step) {
      const damaged = whole.slice();
      damaged[at] ^= 0x10;
      expect(() => readSilk(damaged), `byte ${at}`).toThrow(/damaged|truncated|not a .silk file/);
    }
    for (let end = 0; end < whole.length; end += 7) expect(() => readSilk(whole.slice(0, end))).toThrow(/truncated|empty/);
    expect(() => readSilk(Uint8Array.from([...whole, 0]))).toThrow("more bytes follow");
  });

  test("of a newer version is reported as such", () => {
    const newer = python.slice();
    newer[8] = 3;
    const length = newer[10];
    new DataView(newer.buffer).setUint32(length - 4, crc32(newer.subarray(0, length - 4)), true);
    expect(() => readSilk(newer, "a.silk")).toThrow("a.silk is a .silk file of version 3; this package reads up to version 2.");
  });

  test("CRC-32 is zlib's and can be continued", () => {
    const data = new TextEncoder().encode("123456789");
    expect(crc32(data)).toBe(0xcbf43926);
    expect(crc32(data.subarray(4), crc32(data.subarray(0, 4)))).toBe(0xcbf43926);
  });
});

describe("mel", () => {
  test("is Python's", () => {
    const chirp = Float32Array.from({ length: 10_000 }, (_, n) => 0.5 * Math.sin((2 * Math.PI * (100 * n + 0.2 * n * n)) / 24_000));
    const mel = logMel(chirp);
    expect(mel.length).toBe(80 * N_MELS);
    let worst = 0;
    // Far below the level of the chirp, there are only float32 rounding errors, which differ.
    fixtures.mel.forEach((column, c) => column.forEach((value, b) => (worst = Math.max(worst, value > -6 ? Math.abs(value - mel[c * 9 * N_MELS + b]) : 0))));
    expect(worst).toBeLessThan(2e-3);
  });

  test("is the same with pauses", async () => {
    const noise = Float32Array.from({ length: 60_000 }, (_, n) => Math.sin(n * n));
    expect(await logMelWithPauses(noise)).toEqual(logMel(noise));
  });

  test("hzToMel and melToHz are inverses, and the scale is linear up to 1 kHz", () => {
    expect(hzToMel(1000)).toBeCloseTo(15);
    for (const hz of [50, 999, 1001, 12_000]) expect(melToHz(hzToMel(hz))).toBeCloseTo(hz);
    expect(FILTERS.every(({ weights }) => weights.length > 0)).toBe(true);
  });

  test("a distance to itself is 0, and 6 dB is 6 dB", () => {
    const mel = Float32Array.from({ length: 400 }, (_, i) => Math.sin(i));
    expect(melDistanceDb(mel, mel)).toBe(0);
    expect(melDistanceDb(mel, mel.map((value) => value + Math.LN2))).toBeCloseTo(6.02, 2);
  });
});

describe("quantizers", () => {
  test("FSQ rounds any number to one of 8 levels, as ONNX rounds", () => {
    expect([-99, -3.4, 0, 99].map(levelOf)).toEqual([0, 1, 4, 7]);
    expect([0.5, 1.5, -0.5, -1.5, 2.4].map(roundEven).map((value) => value + 0)).toEqual([0, 2, 0, -2, 2]);
  });

  test("k-means finds two heaps, the same ones every time", () => {
    const points = Float32Array.from({ length: 400 }, (_, i) => (i < 200 ? -3 : 2) + 0.1 * Math.sin(i));
    const found = kmeans(points, 2, 2);
    expect([...found].sort((a, b) => a - b).map(Math.round)).toEqual([-3, -3, 2, 2]);
    expect(kmeans(points, 2, 2)).toEqual(found);
  });

  test("a chain's entries and what is left add up to the vector", () => {
    const books = [Float32Array.of(0, 0, 4, 4), Float32Array.of(0, 0, -1, 1)];
    const stages = chain(books, [3.2, 4.9]);
    expect(stages.map((stage) => stage.entry)).toEqual([1, 1]);
    expect(stages[1].left[0]).toBeCloseTo(0.2);
    expect(nearest(books[0], 2, [3.2, 4.9]).squared).toBeCloseTo(0.64 + 0.81);
    expect(stages[1].rms).toBeLessThan(stages[0].rms);
  });
});

describe("streaming", () => {
  /** A graph whose latent is the sum of all samples so far. */
  const graph: EncoderGraph<number> = {
    lookaheadSamples: 480,
    fresh: (prime) => prime.reduce((sum, sample) => sum + sample, 0),
    async run(wave, sum): Promise<[Frames, number]> {
      const frames = wave.length / FRAME_SAMPLES;
      calls.push(frames);
      const latents = new Float32Array(frames * LATENT_WIDTH);
      for (let f = 0; f < frames; f++) {
        sum += wave.subarray(f * FRAME_SAMPLES, (f + 1) * FRAME_SAMPLES).reduce((total, sample) => total + sample, 0);
        latents.fill(sum, f * LATENT_WIDTH, (f + 1) * LATENT_WIDTH);
      }
      return [{ levels: new Uint8Array(frames * LATENT_WIDTH), latents }, sum];
    },
  };
  let calls: number[] = []; // frames in each call of the graph
  const wave = Float32Array.from({ length: 7 * FRAME_SAMPLES + 100 }, (_, n) => n % 7);

  /** Return the sums of the frames for a wave in chunks of `size`, with or without awaiting each call. */
  async function sums(size: number, wait: boolean): Promise<number[]> {
    const stream = new GraphEncoder(graph);
    const results = [];
    calls = [];
    for (let at = 0; at < wave.length; at += size) {
      results.push(stream.feed(wave.subarray(at, at + size)));
      if (wait) await results.at(-1);
    }
    results.push(stream.flush());
    const latents = (await Promise.all(results)).flatMap((frames) => [...frames.latents]);
    await expect(stream.feed(wave)).rejects.toThrow("new one");
    return latents.filter((_, i) => i % LATENT_WIDTH === 0);
  }

  test.each([1, 480, 7_001, 1e9])("chunks of %i samples give the same frames", async (size) => {
    const whole = await sums(wave.length, true);
    expect(whole.length).toBe(8);
    expect(calls).toEqual([5, 1, 2]); // The last two frames follow at the end, after the look-ahead is padded.
    expect(await sums(size, true)).toEqual(whole);
    expect(await sums(size, false)).toEqual(whole);
  });

  test("closing a stream stops the computation after the current call", async () => {
    let finished = 0;
    const encoder = new GraphEncoder({ ...graph, run: async (wave, sum) => (++finished === 2 && encoder.close(), graph.run(wave, sum)) });
    await expect(encoder.feed(new Float32Array(200 * FRAME_SAMPLES))).rejects.toThrow("closed");
    expect(finished).toBe(2);
    const decoder = new GraphDecoder<null>({
      fresh: () => null,
      run: async (part) => (++finished === 5 && decoder.close(), [new Float32Array((part.length / LATENT_WIDTH) * FRAME_SAMPLES), null]),
    });
    await expect(decoder.feed(new Uint8Array(200 * LATENT_WIDTH))).rejects.toThrow("closed");
    expect(finished).toBe(5);
  });

  test("fewer samples than the look-ahead make one frame, no samples make none", async () => {
    const short = new GraphEncoder(graph);
    await short.feed(new Float32Array(10));
    expect((await short.flush()).levels.length).toBe(LATENT_WIDTH);
    expect((await new GraphEncoder(graph).flush()).levels.length).toBe(0);
  });
});

describe("sound", () => {
  test("a whisper of shapes has these shapes", async () => {
    const vectors = Float32Array.from({ length: 100 * WIDTH }, (_, i) => (i % WIDTH === 5 ? 0 : -20 - (i % WIDTH)));
    const shapes = shapesOf(logMel(await whisper(vectors, 2)));
    const mean = Array.from({ length: WIDTH }, (_, d) => shapes.vectors.subarray(160, 1_440).reduce((sum, value, i) => sum + (i % WIDTH === d ? value : 0), 0) / 80);
    const differences = mean.map((value, d) => value - (d === 5 ? 0 : -20 - d));
    const offset = differences.reduce((sum, value) => sum + value, 0) / WIDTH; // difference between the two loud levels
    expect(Math.abs(offset)).toBeLessThan(12);
    expect(rms(differences.map((value) => value - offset))).toBeLessThan(6);
    expect(mean.indexOf(Math.max(...mean))).toBe(5);
  });

  test("a WAV file says what it holds", () => {
    const file = writeWav(Float32Array.of(0, 1, -2));
    expect(new TextDecoder().decode(file.subarray(8, 16))).toBe("WAVEfmt ");
    expect([...new Int16Array(file.buffer, 44)]).toEqual([0, 32767, -32767]);
  });

  test("float16 is read", () => {
    expect([...fromHalf(Uint16Array.of(0x3c00, 0xc200, 0x0001, 0x3555))]).toEqual([1, -3, 2 ** -24, 0.333251953125]);
  });
});
