/** Light or dark: the system's choice, until the reader makes one. */
class Theme {
  dark = $state(matchMedia("(prefers-color-scheme: dark)").matches);
  #chosen = false;

  constructor() {
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => {
      if (!this.#chosen) this.dark = event.matches;
    });
  }

  toggle(): void {
    this.#chosen = true;
    this.dark = !this.dark;
    document.documentElement.dataset.theme = this.dark ? "dark" : "light";
  }
}

export const theme = new Theme();
