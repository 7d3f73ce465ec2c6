/** What the charts show: extracts of bench/*.json, made by `web/make_data.py`. */

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
  sources: Record<string, Record<string, { n: number; inside: number; error_db: number }>>;
}

export interface Coverage {
  created: string;
  covered: number;
  groups: Record<string, { speakers: number; sources: number }>;
  views: Record<string, Record<string, Covered>>;
}

class Charts {
  landscape = $state.raw<{ created: string; codecs: CodecRow[] } | null>(null);
  coverage = $state.raw<Coverage | null>(null);

  failed = $state(false);

  async load(): Promise<void> {
    try {
      await this.#fetch();
    } catch {
      this.failed = true;
    }
  }

  async #fetch(): Promise<void> {
    const [landscape, coverage] = await Promise.all(["landscape", "coverage"].map(async (name) => (await fetch(`data/${name}.json`)).json()));
    this.landscape = landscape;
    this.coverage = coverage;
  }
}

export const charts = new Charts();
