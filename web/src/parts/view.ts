/** Which elements are in view, or nearly. Figures draw and follow the sound only there. */

import { SvelteSet } from "svelte/reactivity";

const MARGIN = "300px"; // so that a picture is ready when it is scrolled into view
const watched = new WeakMap<Element, (visible: boolean) => void>();
const printed = new Set<(visible: boolean) => void>();

const observer = new IntersectionObserver((entries) => entries.forEach(({ target, isIntersecting }) => watched.get(target)?.(isIntersecting)), { rootMargin: MARGIN });
addEventListener("beforeprint", () => printed.forEach((set) => set(true)));

/** An action: calls `set` whenever the element comes into view or leaves it. */
export function view(element: Element, set: (visible: boolean) => void): { destroy(): void } {
  watched.set(element, set);
  printed.add(set);
  observer.observe(element);
  return {
    destroy() {
      observer.unobserve(element);
      printed.delete(set);
      set(false);
    },
  };
}

/** The ids of the sections in view. */
export const sectionsInView = new SvelteSet<string>();

/** An action for a section: keeps `sectionsInView`. */
export const viewSection = (element: Element, id: string): { destroy(): void } => view(element, (visible) => void (visible ? sectionsInView.add(id) : sectionsInView.delete(id)));
