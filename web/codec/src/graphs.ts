/** The two graphs on ONNX Runtime Web, of which this is the only importer. */

import * as ort from "onnxruntime-web/wasm";
import wasm from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import type { GraphConfig, WeightsConfig } from "./config";
import type { DecoderGraph, EncodedFrame, EncoderGraph } from "./stream";
import { LATENT_WIDTH } from "./tokens";

export type States = Record<string, ort.Tensor>;

/** Told before the first session: where the WebAssembly is, and one thread, which works on any static host. */
export function prepare(): void {
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = { wasm: new URL(wasm, import.meta.url).href };
  ort.env.logLevel = "error";
}

export async function openEncoder(content: Uint8Array, config: WeightsConfig): Promise<EncoderGraph<States>> {
  const session = await open(content);
  return {
    lookaheadSamples: config.lookahead_samples,
    fresh(prime) {
      const states = fresh(config.encoder);
      (states.state_wave.data as Float32Array).set(prime, config.history_samples);
      return states;
    },
    async run(wave, states): Promise<[EncodedFrame, States]> {
      const wanted = ["levels", "latent", ...Object.keys(states).map((name) => `next_${name}`)];
      const outputs = await session.run({ wave: new ort.Tensor("float32", wave, [1, wave.length]), ...states }, wanted);
      const frame = { levels: outputs.levels.data as Uint8Array, latent: outputs.latent.data as Float32Array };
      return [frame, next(outputs, states)];
    },
  };
}

export async function openDecoder(content: Uint8Array, config: WeightsConfig): Promise<DecoderGraph<States>> {
  const session = await open(content);
  return {
    fresh: () => fresh(config.decoder),
    async run(levels, states): Promise<[Float32Array, States]> {
      const shape = [1, levels.length / LATENT_WIDTH, LATENT_WIDTH];
      const outputs = await session.run({ levels: new ort.Tensor("uint8", levels, shape), ...states });
      return [outputs.wave.data as Float32Array, next(outputs, states)];
    },
  };
}

function open(content: Uint8Array): Promise<ort.InferenceSession> {
  return ort.InferenceSession.create(content, { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
}

/** A stream that has not begun: zeros. */
function fresh(config: GraphConfig): States {
  return Object.fromEntries(
    config.states.map(({ name, shape }) => {
      const size = shape.reduce((product, n) => product * n, 1);
      return [name, new ort.Tensor("float32", new Float32Array(size), [1, ...shape])];
    }),
  );
}

function next(outputs: Record<string, ort.Tensor>, states: States): States {
  return Object.fromEntries(Object.keys(states).map((name) => [name, outputs[`next_${name}`]]));
}
