/** Whether the system requests reduced motion. */
class Motion {
  readonly #query = matchMedia("(prefers-reduced-motion: reduce)");
  reduced = $state(this.#query.matches);

  constructor() {
    this.#query.addEventListener("change", (event) => (this.reduced = event.matches));
  }
}

export const motion = new Motion();
