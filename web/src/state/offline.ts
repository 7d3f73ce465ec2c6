/** Offline use of the page, and the data-saving mode of browsers. */

/** Return whether the data-saving mode of the browser is on. */
export const savesData = (): boolean => (navigator as { connection?: { saveData?: boolean } }).connection?.saveData === true;

/** Store the page on the device. Call this after the model has loaded, so that it does not slow down the downloads. */
export function keepPage(): void {
  if (!import.meta.env.PROD || !("serviceWorker" in navigator) || savesData()) return;
  navigator.serviceWorker.register(new URL("service-worker.js", document.baseURI)).catch(() => {}); // The page also works without the worker.
}
