/** Pause a long computation on the main thread regularly, so that the page can draw and handle clicks. */
export class Pauses {
  static readonly LONGEST_MS = 12; // longest time without a pause
  #began = performance.now();

  /** Pause if the last pause was more than `LONGEST_MS` ago. Set `always` before a long step that cannot be divided. */
  async take(always = false): Promise<void> {
    if (!always && performance.now() - this.#began < Pauses.LONGEST_MS) return;
    await new Promise((resolve) => setTimeout(resolve));
    this.#began = performance.now();
  }
}
