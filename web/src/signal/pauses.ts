/** Pauses for drawing and clicks during a long computation on the main thread. */
export class Pauses {
  static readonly LONGEST_MS = 12; // without a pause
  #began = performance.now();

  /** Pause if the last pause was long ago. */
  async take(): Promise<void> {
    if (performance.now() - this.#began < Pauses.LONGEST_MS) return;
    await new Promise((resolve) => setTimeout(resolve));
    this.#began = performance.now();
  }
}
