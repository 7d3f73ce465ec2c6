/** Offline use of the page, and browsers that save data. */

/** Whether the browser asks pages to save data. */
export const savesData = (): boolean => (navigator as { connection?: { saveData?: boolean } }).connection?.saveData === true;

/** Store the page on the device. Call it when the model has loaded, so that nothing competes with its downloads. */
export function keepPage(): void {
  if (!import.meta.env.PROD || !("serviceWorker" in navigator) || savesData()) return;
  navigator.serviceWorker.register(new URL("service-worker.js", document.baseURI)).catch(() => {}); // the page works without it
}
