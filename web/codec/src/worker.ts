/** The codec's own thread: it loads the model once, then encodes and decodes one request after another. */

import { getGraph, readConfig, readGraph } from "./config";
import { openDecoder, openEncoder, prepare, type States } from "./graphs";
import type { Answer, Request } from "./messages";
import { StreamDecoder, StreamEncoder, type DecoderGraph, type EncodedFrame, type EncoderGraph } from "./stream";
import { FRAME_SAMPLES, LATENT_WIDTH } from "./tokens";

const CHUNK_FRAMES = 5; // decoded in one call, as the package does it

let encoder: EncoderGraph<States>;
let decoder: DecoderGraph<States>;
let queue: Promise<void> = Promise.resolve();
const cancelled = new Set<number>();

self.onmessage = ({ data }: MessageEvent<Request>) => {
  if (data.kind === "cancel") {
    cancelled.add(data.id);
    return;
  }
  queue = queue.then(async () => {
    try {
      if (data.kind === "load") await load(data.folder);
      else if (data.kind === "encode") await encode(data.id, data.wave);
      else await decode(data.id, data.levels, data.nSamples);
    } catch (error) {
      say({ kind: "failed", id: "id" in data ? data.id : null, message: String((error as Error)?.message ?? error) });
    }
  });
};

async function load(folder: string): Promise<void> {
  const began = performance.now();
  prepare();
  const config = await readConfig(folder);
  const graphs = [config.encoder, config.decoder];
  const responses = await Promise.all(graphs.map((graph) => getGraph(folder, graph)));
  const lengths = responses.map((response) => Number(response.headers.get("Content-Length")));
  const totalBytes = lengths.every(Boolean) ? lengths[0] + lengths[1] : null; // a server that compresses does not say
  let bytes = 0;
  const advance = (more: number) => say({ kind: "loading", bytes: (bytes += more), totalBytes });
  const [encoderBytes, decoderBytes] = await Promise.all(graphs.map((graph, i) => readGraph(responses[i], graph, advance)));
  encoder = await openEncoder(encoderBytes, config);
  decoder = await openDecoder(decoderBytes, config);
  say({ kind: "ready", codec: `${config.name}@${config.weights_hash}`, bytes, took_ms: performance.now() - began });
}

async function encode(id: number, wave: Float32Array): Promise<void> {
  const stream = new StreamEncoder(encoder);
  const frames: EncodedFrame[] = [];
  let spent = 0;
  for (let at = 0; at <= wave.length; at += FRAME_SAMPLES) {
    if (await wasCancelled(id)) return;
    const began = performance.now();
    frames.push(...(await stream.feed(wave.subarray(at, at + FRAME_SAMPLES))));
    spent += performance.now() - began;
    say({ kind: "progress", id, share: Math.min(1, at / wave.length) });
  }
  const began = performance.now();
  frames.push(...(await stream.flush()));
  spent += performance.now() - began;
  const levels = new Uint8Array(frames.length * LATENT_WIDTH);
  const latents = new Float32Array(frames.length * LATENT_WIDTH);
  frames.forEach((frame, i) => {
    levels.set(frame.levels, i * LATENT_WIDTH);
    latents.set(frame.latent, i * LATENT_WIDTH);
  });
  say({ kind: "encoded", id, levels, latents, took_ms: spent });
}

async function decode(id: number, levels: Uint8Array, nSamples: number): Promise<void> {
  const stream = new StreamDecoder(decoder);
  const wave = new Float32Array((levels.length / LATENT_WIDTH) * FRAME_SAMPLES);
  const step = CHUNK_FRAMES * LATENT_WIDTH;
  let spent = 0;
  for (let at = 0; at < levels.length; at += step) {
    if (await wasCancelled(id)) return;
    const began = performance.now();
    wave.set(await stream.feed(levels.slice(at, at + step)), (at / LATENT_WIDTH) * FRAME_SAMPLES);
    spent += performance.now() - began;
    say({ kind: "progress", id, share: Math.min(1, (at + step) / levels.length) });
  }
  say({ kind: "decoded", id, wave: wave.slice(0, nSamples), took_ms: spent });
}

/** Lets a cancellation in, and answers it. */
async function wasCancelled(id: number): Promise<boolean> {
  await new Promise((resolve) => setTimeout(resolve));
  if (!cancelled.delete(id)) return false;
  say({ kind: "cancelled", id });
  return true;
}

function say(answer: Answer): void {
  const buffers = Object.values(answer).flatMap((value) => (ArrayBuffer.isView(value) ? [value.buffer] : []));
  self.postMessage(answer, { transfer: buffers as Transferable[] });
}
