// Store the page on the reader's device, so that it works offline. The build adds two constants above this text:
// VERSION is a hash of the contents of all files, and FILES contains their paths relative to this folder. The codec
// worker stores the model (src/state/model-store.ts).
const SCOPE = self.registration.scope;
const PREFIX = `silk-page ${SCOPE} `; // Another folder of the same host can contain another copy of the page.
const CACHE = PREFIX + VERSION;
const isHashed = (url) => url.startsWith(`${SCOPE}assets/`);
const isModel = (url) => url.startsWith(`${SCOPE}weights/`) || url.endsWith(".wasm");

addEventListener("install", (event) => event.waitUntil(install()));
addEventListener("activate", (event) => event.waitUntil(activate()));
addEventListener("fetch", (event) => {
  const { url, method } = event.request;
  if (method === "GET" && url.startsWith(SCOPE) && !isModel(url)) event.respondWith(answer(event.request));
});

async function install() {
  const cache = await caches.open(CACHE);
  const urls = FILES.map((file) => new URL(file, SCOPE).href);
  await cache.addAll(urls.map((url) => new Request(url, { cache: isHashed(url) ? "default" : "no-cache" })));
  await self.skipWaiting();
}

async function activate() {
  for (const name of await caches.keys()) if (name.startsWith(PREFIX) && name !== CACHE) await caches.delete(name);
  await self.clients.claim();
}

/** Answer from the device for files with a hash in their name, and for all others from the network if there is one. */
async function answer(request) {
  const cache = await caches.open(CACHE);
  const stored = await cache.match(request.mode === "navigate" ? SCOPE : request, { ignoreVary: true, ignoreSearch: true });
  if (stored && isHashed(request.url)) return stored;
  try {
    return await fetch(request);
  } catch (error) {
    if (stored) return stored;
    throw error;
  }
}
