/** The sections that use each term of the glossary. `Term` adds every use. */

import { SvelteMap } from "svelte/reactivity";

class Usage {
  #sections = new SvelteMap<string, string[]>();

  add(term: string, section: string): void {
    const found = this.#sections.get(term) ?? [];
    if (!found.includes(section)) this.#sections.set(term, [...found, section]);
  }

  of(term: string): string[] {
    return this.#sections.get(term) ?? [];
  }
}

export const usage = new Usage();
