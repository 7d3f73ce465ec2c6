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

export interface Version {
  codec: string | null; // null: the original
  kept: number | null; // codebooks
  file: string;
  gain_db: number; // that brings it to the level of the original
  measured: { codec_id: string; tokens_per_second: number; bits_per_second: number; pesq_wb: Interval; stoi: Interval } | null;
}

export interface Listen {
  created: string;
  n_clips: number;
  current: string; // the codec whose version is played as Silk
  versions: Version[];
}

class Charts {
  listen = $state.raw<Listen | null>(null);
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
    const [landscape, coverage, listen] = await Promise.all(["landscape", "coverage", "listen"].map(async (name) => (await fetch(`data/${name}.json`)).json()));
    this.landscape = landscape;
    this.coverage = coverage;
    this.listen = listen;
  }
}

export const charts = new Charts();
