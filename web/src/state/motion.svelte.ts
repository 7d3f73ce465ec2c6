/** Whether the reader wants less motion; follows the system's setting. */
class Motion {
  readonly #query = matchMedia("(prefers-reduced-motion: reduce)");
  reduced = $state(this.#query.matches);

  constructor() {
    this.#query.addEventListener("change", (event) => (this.reduced = event.matches));
  }
}

export const motion = new Motion();
