/** The interface of a backend, which runs the graphs in this thread (`openLocal`) or in a worker (`remote.ts`). */

import { openGraphs, openRuntime, wasmUrl, type Runtime, type WasmPaths } from "./graphs.js";
import { GraphDecoder, GraphEncoder, type Frames } from "./stream.js";
import { startDownloads, type DownloadOptions } from "./weights.js";

export interface Backend {
  codec: string; // name and hash of the weights: "silk@0a1b2c3d4e5f"
  decodes: string[]; // ids of earlier weights whose tokens can be decoded
  weightsBytes: number;
  encoder(): BackendEncoder;
  decoder(): BackendDecoder;
  close(): Promise<void>;
}

export interface BackendEncoder {
  feed(chunk: Float32Array): Promise<Frames>;
  flush(): Promise<Frames>;
  close(): void;
}

export interface BackendDecoder {
  feed(levels: Uint8Array): Promise<Float32Array>;
  close(): void;
}

export interface BackendOptions extends DownloadOptions {
  folder: string; // from `folderUrl`
  wasmPaths?: WasmPaths;
  ort?: Runtime;
}

export async function openLocal({ folder, wasmPaths, ort, ...options }: BackendOptions): Promise<Backend> {
  const { signal } = options;
  const [runtime, files] = await Promise.all([openRuntime(ort, wasmPaths), startDownloads(folder, wasmUrl(wasmPaths), options)]);
  signal?.throwIfAborted();
  const graphs = await openGraphs(runtime, files);
  const { config } = files;
  if (signal?.aborted) {
    await graphs.release();
    throw signal.reason;
  }
  return {
    codec: `${config.name}@${config.weights_hash}`,
    decodes: config.decodes ?? [],
    weightsBytes: graphs.nBytes,
    encoder: () => new GraphEncoder(graphs.encoder),
    decoder: () => new GraphDecoder(graphs.decoder),
    close: () => graphs.release(),
  };
}
