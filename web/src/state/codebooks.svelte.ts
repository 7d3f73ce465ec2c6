/** The codebooks of sections 4 and 6, which `web/fit_codebooks.py` fitted to speech. */

import about from "../../codebooks/codebooks.json";
import file from "../../codebooks/codebooks.bin?url";
import { fromHalf } from "./recording";

export interface Codebooks {
  palette: Float32Array; // [1024 * 16], dB
  chain: Float32Array[]; // 8 arrays [256 * 16]
}

class Store {
  books = $state.raw<Codebooks | null>(null);
  readonly about = about;

  failed = $state(false);

  async load(): Promise<void> {
    if (this.books) return;
    try {
      await this.#fetch();
    } catch {
      this.failed = true;
    }
  }

  async #fetch(): Promise<void> {
    const response = await fetch(file);
    if (!response.ok) throw new Error(response.statusText);
    const numbers = fromHalf(new Uint16Array(await response.arrayBuffer()));
    const first = about.entries * about.width;
    const step = about.chain_entries * about.width;
    this.books = {
      palette: numbers.slice(0, first),
      chain: Array.from({ length: about.chain }, (_, i) => numbers.slice(first + i * step, first + (i + 1) * step)),
    };
  }
}

export const codebooks = new Store();
