/** The live model, as the page sees it: promises over the worker. */

import type { Answer, Request } from "./messages";
import { SilkError } from "./tokens";

export interface Encoded {
  levels: Uint8Array;
  latents: Float32Array;
  took_ms: number; // in the graph alone
}

export interface Decoded {
  wave: Float32Array;
  took_ms: number;
}

export class Cancelled extends Error {}

interface Waiting {
  resolve(answer: Answer): void;
  reject(error: Error): void;
  progress?: (share: number) => void;
}

export class Model {
  #worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  #waiting = new Map<number, Waiting>();
  #ids = 0;

  /** `told` hears of loading, of being ready, and of failure. */
  constructor(folder: string, told: (answer: Answer) => void) {
    this.#worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      const waiting = "id" in data && data.id !== null ? this.#waiting.get(data.id) : undefined;
      if (data.kind === "progress") waiting?.progress?.(data.share);
      else if (!waiting) told(data);
      else {
        this.#waiting.delete((data as { id: number }).id);
        if (data.kind === "failed") waiting.reject(new SilkError(data.message));
        else if (data.kind === "cancelled") waiting.reject(new Cancelled());
        else waiting.resolve(data);
      }
    };
    this.#worker.onerror = (event) => told({ kind: "failed", id: null, message: event.message || "the worker did not start" });
    this.#send({ kind: "load", folder });
  }

  /** wave [T] at 24 kHz -> levels and latents [F * 128]. */
  async encode(wave: Float32Array, options: { progress?: (share: number) => void; signal?: AbortSignal } = {}): Promise<Encoded> {
    return (await this.#ask((id) => ({ kind: "encode", id, wave }), options)) as Answer & { kind: "encoded" };
  }

  /** levels [F * 128] -> wave [nSamples]. */
  async decode(levels: Uint8Array, nSamples: number, options: { progress?: (share: number) => void; signal?: AbortSignal } = {}): Promise<Decoded> {
    return (await this.#ask((id) => ({ kind: "decode", id, levels, nSamples }), options)) as Answer & { kind: "decoded" };
  }

  #ask(make: (id: number) => Request, { progress, signal }: { progress?: (share: number) => void; signal?: AbortSignal }): Promise<Answer> {
    const id = ++this.#ids;
    signal?.addEventListener("abort", () => this.#send({ kind: "cancel", id }));
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, progress });
      this.#send(make(id));
    });
  }

  #send(request: Request): void {
    this.#worker.postMessage(request);
  }
}
