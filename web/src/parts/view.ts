/** Which elements are in view, or nearly. Figures draw and follow the sound only there. */

import { flushSync } from "svelte";
import { SvelteSet } from "svelte/reactivity";
import { Pauses } from "../signal/pauses";

const MARGIN = "300px"; // so that a picture is ready when it is scrolled into view
const watched = new Map<Element, (visible: boolean) => void>();
const coming = new Set<Element>(); // into view, not yet drawn
let drawing = false;

const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) coming.add(target);
    else if (!coming.delete(target)) watched.get(target)?.(false);
  }
  if (!drawing) void draw();
}, { rootMargin: MARGIN });

addEventListener("beforeprint", () => watched.forEach((set) => set(true)));

/** Let one figure after another draw, with pauses, so that none of them blocks the page for long. */
async function draw(): Promise<void> {
  drawing = true;
  const pauses = new Pauses();
  for (const element of coming) {
    coming.delete(element);
    const set = watched.get(element);
    if (set) flushSync(() => set(true)); // draws now
    await pauses.take();
  }
  drawing = false;
}

/** An action: calls `set` whenever the element comes into view or leaves it. */
export function view(element: Element, set: (visible: boolean) => void): { destroy(): void } {
  watched.set(element, set);
  observer.observe(element);
  return {
    destroy() {
      observer.unobserve(element);
      watched.delete(element);
      coming.delete(element);
      set(false);
    },
  };
}

/** The ids of the sections in view. */
export const sectionsInView = new SvelteSet<string>();

/** An action for a section: keeps `sectionsInView`. */
export const viewSection = (element: Element, id: string): { destroy(): void } => view(element, (visible) => void (visible ? sectionsInView.add(id) : sectionsInView.delete(id)));
