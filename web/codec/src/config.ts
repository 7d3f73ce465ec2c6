/** config.json of a weights folder: what the two graphs are called, hold and must hash to. */

import { SilkError } from "./tokens";

export interface GraphConfig {
  file: string;
  sha256: string;
  states: { name: string; shape: number[] }[];
}

export interface WeightsConfig {
  format: number;
  name: string;
  weights_hash: string;
  lookahead_samples: number;
  history_samples: number;
  encoder: GraphConfig;
  decoder: GraphConfig;
}

export async function readConfig(folder: string): Promise<WeightsConfig> {
  const config = (await (await get(folder + "config.json")).json()) as WeightsConfig;
  if (config.format !== 1) throw new SilkError(`The model must be of format 1; got ${config.format}.`);
  return config;
}

/** Begins to fetch a graph: its answer, whose body is yet to come. */
export function getGraph(folder: string, graph: GraphConfig): Promise<Response> {
  return get(folder + graph.file);
}

/** A graph's bytes, checked against config.json where the browser can (a page over plain http cannot, but on localhost). */
export async function readGraph(response: Response, graph: GraphConfig, advance: (bytes: number) => void): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  const reader = response.body!.getReader();
  for (let step = await reader.read(); !step.done; step = await reader.read()) {
    parts.push(step.value);
    advance(step.value.length);
  }
  const content = new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
  if (globalThis.crypto?.subtle) {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
    const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (found !== graph.sha256) throw new SilkError(`${graph.file} is damaged: its checksum is wrong; reload the page.`);
  }
  return content;
}

async function get(url: string): Promise<Response> {
  const response = await fetch(url).catch(() => null);
  if (!response?.ok) throw new SilkError(`The model could not be fetched (${url.split("/").at(-1)}).`);
  return response;
}
