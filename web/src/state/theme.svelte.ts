/** The light or dark theme: the stored choice of the reader, or the setting of the system. */

const KEY = "silk-theme";

class Theme {
  #system = matchMedia("(prefers-color-scheme: dark)");
  dark = $state(this.#system.matches);
  #chosen = false;

  constructor() {
    const kept = this.#kept();
    if (kept) this.#choose(kept === "dark");
    this.#system.addEventListener("change", (event) => {
      if (!this.#chosen) this.dark = event.matches;
    });
  }

  toggle(): void {
    this.#choose(!this.dark);
    try {
      localStorage.setItem(KEY, this.dark ? "dark" : "light");
    } catch {
      // Storage is disabled, so the choice lasts until the page is closed.
    }
  }

  #choose(dark: boolean): void {
    this.#chosen = true;
    this.dark = dark;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
  }

  #kept(): string | null {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  }
}

export const theme = new Theme();
