/** The messages between `remote.ts` and `worker.ts`. */

import type { WasmPaths } from "./graphs.js";
import type { Frames } from "./stream.js";

export type Request =
  | { kind: "load"; folder: string; wasmPaths?: WasmPaths }
  | { kind: "open"; stream: number; direction: "encode" | "decode" }
  | { kind: "encode"; id: number; stream: number; chunk: Float32Array | null } // null: flush
  | { kind: "decode"; id: number; stream: number; levels: Uint8Array }
  | { kind: "close"; stream: number };

export type Answer =
  | { kind: "loading"; bytes: number; totalBytes: number | null }
  | { kind: "ready"; codec: string; decodes: string[]; weightsBytes: number }
  | { kind: "encoded"; id: number; frames: Frames }
  | { kind: "decoded"; id: number; wave: Float32Array }
  | { kind: "failed"; id: number | null; message: string; name: string }; // null: while loading
