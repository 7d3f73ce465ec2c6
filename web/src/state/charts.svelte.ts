/** The data for the charts: extracts of the results in the repository, made by `web/make_data.py`. */

export interface CodecRow {
  name: string;
  quantizer: string;
  sample_rate: number;
  frame_rates_hz: number[];
  codebook_sizes: number[];
  tokens_per_second: number;
  bits_per_second: number;
}

export interface Interval {
  mean: number;
  low: number;
  high: number;
  n: number;
}

export interface Covered {
  groups: Record<string, Interval>;
  against_unseen: Record<string, Interval>;
  beyond_grid: Record<string, Interval> | null; // the difference from unseen speakers minus that of a grid with the same number of bits; null for grids
  sources: Record<string, Record<string, { n: number; inside: number }>>;
}

export interface Coverage {
  created: string;
  covered: number;
  folds: number;
  width: number; // numbers in a vector
  groups: Record<string, { speakers: number; sources: number }>;
  views: Record<string, Record<string, Covered>>;
}

export interface Version {
  codec: string | null; // null: the original
  kept: number | null; // number of codebooks
  file: string;
  gain_db: number; // makes it as loud as the original
  measured: { codec_id: string; tokens_per_second: number; bits_per_second: number; pesq_wb: Interval; stoi: Interval } | null;
}

export interface Listen {
  created: string;
  n_clips: number;
  current: string; // id of the codec that made Silk's version
  versions: Version[];
}

const CHARTS = ["coverage", "landscape", "listen"] as const; // also the ids of their sections
type Chart = (typeof CHARTS)[number];

class Charts {
  listen = $state.raw<Listen | null>(null);
  landscape = $state.raw<{ created: string; codecs: CodecRow[] } | null>(null);
  coverage = $state.raw<Coverage | null>(null);

  /** The charts whose files did not load. */
  failed = $state.raw<Chart[]>([]);
  /** Whether each chart has either loaded or failed. */
  settled = $state(false);

  async load(): Promise<void> {
    await Promise.all(CHARTS.map((name) => this.#load(name)));
    this.settled = true;
  }

  async #load(name: Chart): Promise<void> {
    try {
      const response = await fetch(`data/${name}.json`);
      if (!response.ok) throw new Error(response.statusText);
      this[name] = await response.json();
    } catch {
      this.failed = [...this.failed, name];
    }
  }
}

export const charts = new Charts();
