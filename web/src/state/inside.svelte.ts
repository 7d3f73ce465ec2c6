/** Activations of the layers for the samples. `web/activations.py` recorded them. They are fetched when a figure needs them. */

import { FRAME_S } from "silkcodec";
import { framesOf, type Layer, type Recording } from "./recording";
import { session } from "./session.svelte";

export interface Activations {
  layer: Layer;
  columns: number;
  values: Uint8Array; // [columns * rows]
}

class Inside {
  #found = $state.raw<Record<string, Activations[]>>({});
  #asked = new Set<string>();
  failed = $state(false);

  /** Return the activations for a sample, or null while they load and for other recordings. */
  of(recording: Recording): Activations[] | null {
    return recording.source === "sample" ? (this.#found[recording.name] ?? null) : null;
  }

  async load(recording: Recording): Promise<void> {
    const stages = session.stages;
    if (recording.source !== "sample" || !stages || this.#asked.has(recording.name)) return;
    this.#asked.add(recording.name);
    try {
      const response = await fetch(`data/${recording.name}.inside.bin`);
      if (!response.ok) throw new Error(response.statusText);
      const bytes = new Uint8Array(await response.arrayBuffer());
      let at = 0;
      const all = stages.layers.map((layer) => {
        const columns = Math.round(layer.rate_hz * FRAME_S * framesOf(recording));
        const values = bytes.subarray(at, (at += columns * layer.rows));
        return { layer, columns, values };
      });
      this.#found = { ...this.#found, [recording.name]: all };
      this.failed = false;
    } catch {
      this.#asked.delete(recording.name);
      this.failed = true;
    }
  }
}

export const inside = new Inside();
