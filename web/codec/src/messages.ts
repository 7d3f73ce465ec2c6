/** What the page and the worker say to each other. */

export type Request =
  | { kind: "load"; folder: string }
  | { kind: "encode"; id: number; wave: Float32Array }
  | { kind: "decode"; id: number; levels: Uint8Array; nSamples: number }
  | { kind: "cancel"; id: number };

export type Answer =
  | { kind: "loading"; bytes: number; totalBytes: number | null }
  | { kind: "ready"; codec: string; bytes: number; took_ms: number }
  | { kind: "failed"; id: number | null; message: string }
  | { kind: "progress"; id: number; share: number }
  | { kind: "encoded"; id: number; levels: Uint8Array; latents: Float32Array; took_ms: number }
  | { kind: "decoded"; id: number; wave: Float32Array; took_ms: number }
  | { kind: "cancelled"; id: number };
