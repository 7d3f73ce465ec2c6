/** Read a weights folder. */

import { DownloadError, SilkError } from "./errors.js";

export interface GraphConfig {
  file: string;
  sha256: string;
  states: { name: string; shape: number[] }[];
}

export interface WeightsConfig {
  format: number;
  name: string;
  weights_hash: string;
  decodes?: string[]; // ids of earlier weights whose tokens can be decoded
  lookahead_samples: number;
  history_samples: number;
  encoder: GraphConfig;
  decoder: GraphConfig;
}

/** The files of the codec. */
export interface Files {
  config: WeightsConfig;
  wasm: Promise<Uint8Array> | null;
  encoder: Promise<Uint8Array>;
  decoder: Promise<Uint8Array>;
}

/** Called with the number of downloaded bytes and the total number, which is null if it is unknown. */
export type LoadProgress = (bytes: number, totalBytes: number | null) => void;

export interface DownloadOptions {
  progress?: LoadProgress;
  signal?: AbortSignal;
  fetch?: typeof fetch;
}

/**
 * Return the absolute URL of a weights folder, given a URL relative to the page or, in Node.js, a path.
 */
export async function folderUrl(folder: string | URL): Promise<string> {
  const text = String(folder);
  const slashed = text.endsWith("/") ? text : `${text}/`;
  if (/^[a-z][a-z0-9+.-]+:/i.test(slashed)) return new URL(slashed).href; // "C:" is not a scheme
  const base = globalThis.document?.baseURI ?? globalThis.location?.href;
  if (base) return new URL(slashed, base).href;
  const { pathToFileURL } = await nodeModule<{ pathToFileURL(path: string): URL }>("node:url");
  return pathToFileURL(slashed).href;
}

/**
 * Start downloading all files. The promise resolves when all responses have started.
 *
 * @param folder URL of the weights folder, from `folderUrl`.
 * @param wasm URL of ONNX Runtime's WebAssembly, or null if ONNX Runtime downloads it.
 */
export async function startDownloads(folder: string, wasm: string | null, options: DownloadOptions): Promise<Files> {
  const runtime = wasm ? open(wasm, options) : null;
  runtime?.catch(() => {}); // reported below, unless config.json fails first
  const config = parseConfig(await readAll(await open(folder + "config.json", options)));
  const graphs = [config.encoder, config.decoder];
  const files = await Promise.all([runtime, ...graphs.map((graph) => open(folder + graph.file, options))]);
  const totalBytes = files.reduce<number | null>((sum, file) => (file && (sum === null || file.nBytes === null) ? null : sum! + (file?.nBytes ?? 0)), 0);
  let nBytes = 0;
  const advance = (more: number) => options.progress?.((nBytes += more), totalBytes);
  const read = (file: Opened, graph?: GraphConfig) => {
    const content = readAll(file, advance).then((bytes) => (graph ? checked(graph, bytes) : bytes));
    content.catch(() => {}); // The code that awaits `content` reports the error.
    return content;
  };
  const [encoder, decoder] = graphs.map((graph, i) => read(files[i + 1]!, graph));
  return { config, wasm: files[0] && read(files[0]), encoder, decoder };
}

function parseConfig(content: Uint8Array): WeightsConfig {
  let config: WeightsConfig;
  try {
    config = JSON.parse(new TextDecoder().decode(content)) as WeightsConfig;
  } catch {
    throw new SilkError("The config.json of the weights must be JSON; it is not.");
  }
  if (config.format !== 1) throw new SilkError(`The weights must have format 1; got ${config.format}. Update silkcodec.`);
  return config;
}

/** Check the contents of a graph, and return them. Browsers provide crypto.subtle only on https and localhost. */
async function checked(graph: GraphConfig, content: Uint8Array): Promise<Uint8Array> {
  if (!globalThis.crypto?.subtle) return content;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content as Uint8Array<ArrayBuffer>));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (found !== graph.sha256) throw new SilkError(`${graph.file} is damaged: its checksum is wrong. Load it again.`);
  return content;
}

interface Opened {
  nBytes: number | null;
  body: AsyncIterable<Uint8Array>;
}

async function open(url: string, options: DownloadOptions): Promise<Opened> {
  try {
    const { nBytes, body } = await (url.startsWith("file:") ? openFile(url, options) : openHttp(url, options));
    return { nBytes, body: reported(body, url, options) };
  } catch (error) {
    throw downloadError(error, url, options);
  }
}

/** Iterate over the chunks of a download, and report errors with its URL. */
async function* reported(body: AsyncIterable<Uint8Array>, url: string, options: DownloadOptions): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (error) {
    throw downloadError(error, url, options);
  }
}

function downloadError(error: unknown, url: string, { signal }: DownloadOptions): unknown {
  if (signal?.aborted) return signal.reason;
  const reason = error instanceof Error ? error.message : String(error);
  return new DownloadError(`The weights could not be loaded: ${url} (${reason}). Check the address and the network, then load them again.`);
}

async function openHttp(url: string, { signal, fetch = globalThis.fetch }: DownloadOptions): Promise<Opened> {
  const response = await fetch(url, { signal });
  if (!response.ok || !response.body) throw new Error(`HTTP status ${response.status}`);
  // The Content-Length of a compressed response is not the length of its content.
  const length = response.headers.get("Content-Encoding") ? null : Number(response.headers.get("Content-Length")) || null;
  return { nBytes: length, body: chunks(response.body.getReader()) };
}

/** Iterate over the chunks of a stream, for browsers that cannot iterate over streams. */
async function* chunks(reader: ReadableStreamDefaultReader<Uint8Array>): AsyncGenerator<Uint8Array> {
  for (let step = await reader.read(); !step.done; step = await reader.read()) yield step.value;
}

/** Read a local file in Node.js, where `fetch` does not accept file: URLs. */
async function openFile(url: string, { signal }: DownloadOptions): Promise<Opened> {
  type Files = { readFile(url: URL, options: { signal?: AbortSignal }): Promise<Uint8Array> };
  const { readFile } = await nodeModule<Files>("node:fs/promises");
  const content = await readFile(new URL(url), { signal });
  return { nBytes: content.length, body: (async function* () { yield content; })() };
}

async function readAll(file: Opened, advance?: (bytes: number) => void): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of file.body) {
    parts.push(part);
    advance?.(part.length);
  }
  return new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
}

/** Import a module of Node.js. The name is a variable, so that bundlers ignore the import. */
async function nodeModule<T>(name: string): Promise<T> {
  return (await import(/* @vite-ignore */ /* webpackIgnore: true */ name)) as T;
}
