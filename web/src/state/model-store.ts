/** Store the downloads of the model on the reader's device. Later visits then need no network, and know the sizes. */

declare const __MODEL_BYTES__: Record<string, number>; // keys: SHA-256 of a graph, or "wasm"; vite.config.ts defines it

interface Graph {
  file: string;
  sha256: string;
}

const CACHE = "silk-model";
const graphs = new Map<string, string>(); // URL -> SHA-256, from config.json
const current = new Set<string>(); // keys of this visit

/** A `fetch` function for the codec. Graphs are stored under their checksums, so that new weights replace old ones. */
export async function fetchStored(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
  const url = String(input);
  const cache = await opened();
  if (url.endsWith("/config.json")) return fetchConfig(url, init, cache);
  const sha256 = graphs.get(url);
  const key = sha256 ? `${url}?${sha256}` : url;
  const bytes = __MODEL_BYTES__[sha256 ?? "wasm"];
  current.add(key);
  const stored = await cache?.match(key, { ignoreVary: true });
  if (stored) return sized(stored, bytes);
  const response = await fetch(url, init);
  if (cache && response.ok) void keep(cache, key, response.clone());
  return sized(response, bytes);
}

/** Fetch from the network to notice updates, or from the device if there is no network. */
async function fetchConfig(url: string, init: RequestInit | undefined, cache: Cache | null): Promise<Response> {
  const stored = await cache?.match(url, { ignoreVary: true });
  const answer = await fetch(url, init).catch((error) => {
    if (stored) return stored;
    throw error;
  });
  const fresh = answer.ok ? await parsed(answer) : null; // null also for pages of captive portals
  if (cache && fresh && answer !== stored) await cache.put(url, answer.clone()).catch(() => {});
  const response = fresh ? answer : (stored ?? answer);
  const config = fresh ?? (await parsed(response));
  for (const graph of [config?.encoder, config?.decoder]) if (graph) graphs.set(new URL(graph.file, url).href, graph.sha256);
  return response;
}

/** Return the contents of a config.json, or null if the response is something else. */
async function parsed(response: Response): Promise<{ encoder: Graph; decoder: Graph } | null> {
  const config = await response.clone().json().catch(() => null);
  return config?.encoder && config.decoder ? config : null;
}

/** Store a download, then remove downloads from the same folder that this visit does not use. */
async function keep(cache: Cache, key: string, response: Response): Promise<void> {
  try {
    await cache.put(key, response);
    const folder = new URL(".", key).href;
    for (const { url } of await cache.keys()) {
      if (new URL(".", url).href === folder && !url.endsWith("/config.json") && !current.has(url)) await cache.delete(url);
    }
  } catch {
    // The device is full, or the download ended early. Nothing is stored.
  }
}

/** Add the known length of the content, because a compressed response reports a different length. */
function sized(response: Response, bytes: number | undefined): Response {
  if (!bytes || !response.ok || !response.headers.get("Content-Encoding")) return response;
  const headers = new Headers(response.headers);
  headers.delete("Content-Encoding");
  headers.set("Content-Length", String(bytes));
  return new Response(response.body, { headers });
}

async function opened(): Promise<Cache | null> {
  return globalThis.caches ? caches.open(CACHE).catch(() => null) : null; // only on https and localhost
}

/** Largest size of the downloads for the model in bytes, without compression. */
export const modelBytes = Object.values(__MODEL_BYTES__).reduce((sum, bytes) => sum + bytes, 0);

/** Return whether two graphs are stored. They can be from earlier weights. */
export async function isStored(folder: string): Promise<boolean> {
  const keys = (await (await opened())?.keys()) ?? [];
  return keys.filter(({ url }) => url.startsWith(folder) && url.includes(".onnx?")).length >= 2;
}

/** Delete the downloads from a folder, because the model did not start with them. */
export async function forget(folder: string): Promise<void> {
  const cache = await opened();
  for (const request of (await cache?.keys()) ?? []) if (request.url.startsWith(folder)) await cache!.delete(request);
}
