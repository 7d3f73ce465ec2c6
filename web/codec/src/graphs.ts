/** Run the two graphs with ONNX Runtime Web. */

import type * as ORT from "onnxruntime-web/wasm";
import { SilkError } from "./errors.js";
import { Queue } from "./queue.js";
import type { DecoderGraph, EncoderGraph, Frames } from "./stream.js";
import { FRAME_SAMPLES, LATENT_WIDTH } from "./tokens.js";
import type { Files, GraphConfig } from "./weights.js";

/** The `onnxruntime-web/wasm` module, or another build of ONNX Runtime Web. */
export type Runtime = typeof ORT;

/** Location of ONNX Runtime's WebAssembly: a folder, or URLs of files. See `ort.env.wasm.wasmPaths`. */
export type WasmPaths = ORT.Env.WasmPrefixOrFilePaths;

const SILENT_PEAK = 2 ** -14;

export type States = Record<string, ORT.Tensor>;

export interface Graphs {
  encoder: EncoderGraph<States>;
  decoder: DecoderGraph<States>;
  nBytes: number; // size of both graphs
  release(): Promise<void>;
}

/** Return `runtime`, or import it if it is not given. Set it to one thread: more would require special HTTP headers. */
export async function openRuntime(runtime?: Runtime, wasmPaths?: WasmPaths): Promise<Runtime> {
  const ort = runtime ?? (await import("onnxruntime-web/wasm"));
  ort.env.wasm.numThreads = 1;
  if (wasmPaths !== undefined) ort.env.wasm.wasmPaths = wasmPaths;
  ort.env.logLevel = "error";
  return ort;
}

let started = false; // The runtime loads its WebAssembly only once.

/** Return the URL of the WebAssembly if it is absolute and the runtime has not started, or else null. */
export function wasmUrl(wasmPaths?: WasmPaths): string | null {
  const url = typeof wasmPaths === "object" && wasmPaths.wasm ? String(wasmPaths.wasm) : "";
  return !started && /^(https?|file|blob):/.test(url) ? url : null;
}

/** Start the runtime and load both graphs. */
export async function openGraphs(ort: Runtime, { config, wasm, encoder, decoder }: Files): Promise<Graphs> {
  if (wasm) ort.env.wasm.wasmBinary = await wasm;
  const encoderBytes = await encoder;
  const encoderSession = await openSession(ort, encoderBytes);
  started = true;
  delete ort.env.wasm.wasmBinary;
  const decoderSession = await decoder.then((content) => openSession(ort, content)).catch(async (error) => {
    await encoderSession.release();
    throw error;
  });
  return {
    nBytes: encoderBytes.length + (await decoder).length,
    encoder: encoderGraph(ort, encoderSession, config.encoder, config.lookahead_samples, config.history_samples),
    decoder: decoderGraph(ort, decoderSession, config.decoder),
    async release() {
      await encoderSession.release();
      await decoderSession.release();
    },
  };
}

interface Session {
  run(feeds: States, outputs: string[]): Promise<Record<string, ORT.Tensor>>;
  release(): Promise<void>;
}

/** Load a graph. Its calls run one after another. */
async function openSession(ort: Runtime, content: Uint8Array): Promise<Session> {
  const options = { executionProviders: ["wasm"], graphOptimizationLevel: "all" } as const;
  const session = await ort.InferenceSession.create(content, options);
  const queue = new Queue();
  let released = false;
  return {
    run: (feeds, outputs) =>
      queue.run(async () => {
        if (released) throw new SilkError("The codec is closed. Load it again.");
        return session.run(feeds, outputs);
      }),
    release() {
      released = true;
      return queue.run(() => session.release());
    },
  };
}

function encoderGraph(
  ort: Runtime,
  session: Session,
  config: GraphConfig,
  lookaheadSamples: number,
  historySamples: number,
): EncoderGraph<States> {
  return {
    lookaheadSamples,
    fresh(prime) {
      const states = zeros(ort, config);
      (states.state_wave.data as Float32Array).set(prime, historySamples);
      return states;
    },
    async run(wave, states): Promise<[Frames, States]> {
      const feeds = { wave: new ort.Tensor("float32", wave, [1, wave.length]), ...states };
      const outputs = await session.run(feeds, ["levels", "latent", ...nextNames(states)]);
      const frames = { levels: outputs.levels.data as Uint8Array, latents: outputs.latent.data as Float32Array };
      return [frames, nextStates(outputs, states)];
    },
  };
}

function decoderGraph(ort: Runtime, session: Session, config: GraphConfig): DecoderGraph<States> {
  return {
    fresh: () => zeros(ort, config),
    async run(levels, states): Promise<[Float32Array, States]> {
      const shape = [1, levels.length / LATENT_WIDTH, LATENT_WIDTH];
      const feeds = { levels: new ort.Tensor("uint8", levels, shape), ...states };
      const outputs = await session.run(feeds, ["wave", ...nextNames(states)]);
      const wave = outputs.wave.data as Float32Array;
      silence(wave);
      return [wave, nextStates(outputs, states)];
    },
  };
}

/** Silence all frames whose peak is below two 16-bit steps, so that digital silence is preserved. */
export function silence(wave: Float32Array): void {
  for (let first = 0; first < wave.length; first += FRAME_SAMPLES) {
    const frame = wave.subarray(first, first + FRAME_SAMPLES);
    if (frame.every((sample) => Math.abs(sample) < SILENT_PEAK)) frame.fill(0);
  }
}

/** Return the states for the start of a stream. */
function zeros(ort: Runtime, config: GraphConfig): States {
  return Object.fromEntries(
    config.states.map(({ name, shape }) => {
      const size = shape.reduce((product, n) => product * n, 1);
      return [name, new ort.Tensor("float32", new Float32Array(size), [1, ...shape])];
    }),
  );
}

function nextNames(states: States): string[] {
  return Object.keys(states).map((name) => `next_${name}`);
}

function nextStates(outputs: Record<string, ORT.Tensor>, states: States): States {
  return Object.fromEntries(Object.keys(states).map((name) => [name, outputs[`next_${name}`]]));
}
