/** The pure parts, against fixtures that `make_data.py --fixtures` wrote with the Python package. */

import { describe, expect, test } from "vitest";
import { crc32 } from "../codec/src/crc32";
import { FILTERS, N_MELS, hzToMel, logMel, melDistanceDb, melToHz } from "../src/signal/mel";
import { bound, chain, kmeans, levelOf, nearest, rms, roundEven } from "../src/signal/quantize";
import { WIDTH, shapesOf } from "../src/signal/shapes";
import { readSilk, writeSilk } from "../codec/src/silkfile";
import { StreamEncoder, type EncodedFrame, type EncoderGraph } from "../codec/src/stream";
import { FRAME_SAMPLES, LATENT_WIDTH, codebookSizes, codesToLevels, levelsToCodes, packLevels, unpackLevels } from "../codec/src/tokens";
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
  });
});

describe(".silk", () => {
  const python = bytes(fixtures.silk);

  test("written byte for byte as Python writes it", () => {
    expect(Buffer.from(writeSilk(file)).equals(Buffer.from(python))).toBe(true);
  });

  test("Python's is read", () => {
    expect(readSilk(python)).toEqual(file);
  });

  test("every damaged byte is noticed, and every cut", () => {
    for (let at = 0; at < python.length; at++) {
      const damaged = python.slice();
      damaged[at] ^= 0x10;
      expect(() => readSilk(damaged), `byte ${at}`).toThrow(/damaged|cut short|version|start|claims|range-coded/);
    }
    for (let end = 0; end < python.length; end += 7) expect(() => readSilk(python.slice(0, end))).toThrow();
    expect(() => readSilk(Uint8Array.from([...python, 0]))).toThrow("more bytes follow");
  });

  test("a range-coded file is named, not misread", () => {
    const coded = python.slice();
    coded.set(new TextEncoder().encode("CODE"), python.indexOf("R".charCodeAt(0), 30));
    expect(() => readSilk(coded)).toThrow("silk decode");
  });

  test("CRC-32 is zlib's and goes on from where it was", () => {
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
    // Far below the chirp there is nothing but float32 rounding, which differs.
    fixtures.mel.forEach((column, c) => column.forEach((value, b) => (worst = Math.max(worst, value > -6 ? Math.abs(value - mel[c * 9 * N_MELS + b]) : 0))));
    expect(worst).toBeLessThan(2e-3);
  });

  test("the scale goes there and back, linear to 1 kHz", () => {
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
    expect([-99, 99].map((value) => levelOf(bound(value)))).toEqual([0, 7]);
    expect(bound(0)).toBeCloseTo(0);
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
  /** A graph that notes what it was given: its latent is the sum of what it has heard so far. */
  const graph: EncoderGraph<number> = {
    lookaheadSamples: 480,
    fresh: (prime) => prime.reduce((sum, sample) => sum + sample, 0),
    async run(wave, heard): Promise<[EncodedFrame, number]> {
      const now = heard + wave.reduce((sum, sample) => sum + sample, 0);
      return [{ levels: new Uint8Array(LATENT_WIDTH), latent: Float32Array.of(now) }, now];
    },
  };

  test.each([1, 480, 7_001, 1e9])("any way of cutting gives the same frames (%i samples at a time)", async (size) => {
    const wave = Float32Array.from({ length: 2 * FRAME_SAMPLES + 100 }, (_, n) => n % 7);
    const whole = new StreamEncoder(graph);
    const wanted = [...(await whole.feed(wave)), ...(await whole.flush())].map((frame) => frame.latent[0]);
    const stream = new StreamEncoder(graph);
    const frames: EncodedFrame[] = [];
    for (let at = 0; at < wave.length; at += size) frames.push(...(await stream.feed(wave.subarray(at, at + size))));
    frames.push(...(await stream.flush()));
    expect(frames.map((frame) => frame.latent[0])).toEqual(wanted);
    expect(frames.length).toBe(3);
    await expect(stream.feed(wave)).rejects.toThrow("new one");
  });

  test("less than the look-ahead is a frame, nothing is none", async () => {
    const short = new StreamEncoder(graph);
    await short.feed(new Float32Array(10));
    expect((await short.flush()).length).toBe(1);
    expect(await new StreamEncoder(graph).flush()).toEqual([]);
  });
});

describe("sound", () => {
  test("a whisper of shapes has these shapes", () => {
    const vectors = Float32Array.from({ length: 100 * WIDTH }, (_, i) => (i % WIDTH === 5 ? 0 : -20 - (i % WIDTH)));
    const shapes = shapesOf(logMel(whisper(vectors, 2)));
    const mean = Array.from({ length: WIDTH }, (_, d) => shapes.vectors.subarray(160, 1_440).reduce((sum, value, i) => sum + (i % WIDTH === d ? value : 0), 0) / 80);
    const differences = mean.map((value, d) => value - (d === 5 ? 0 : -20 - d));
    const offset = differences.reduce((sum, value) => sum + value, 0) / WIDTH; // of the two loud levels
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
