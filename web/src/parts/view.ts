/** Track which elements are in view or almost in view. Only those are drawn and follow the sound. */

import { flushSync } from "svelte";
import { SvelteSet } from "svelte/reactivity";
import { Pauses } from "../signal/pauses";

const MARGIN = "300px"; // so that a figure is drawn before it is scrolled into view
const watched = new Map<Element, (visible: boolean) => void>();
const coming = new Set<Element>(); // elements that have come into view but are not drawn yet
let drawing = false;

const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) coming.add(target);
    else if (!coming.delete(target)) watched.get(target)?.(false);
  }
  if (!drawing) void draw();
}, { rootMargin: MARGIN });

addEventListener("beforeprint", () => watched.forEach((set) => set(true)));

/** Draw one figure after another, with pauses, so that drawing never blocks the page for long. */
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

/** A Svelte action that calls `set` whenever the element enters or leaves the view. */
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

/** Ids of the sections in view. */
export const sectionsInView = new SvelteSet<string>();

/** A Svelte action for sections that updates `sectionsInView`. */
export const viewSection = (element: Element, id: string): { destroy(): void } => view(element, (visible) => void (visible ? sectionsInView.add(id) : sectionsInView.delete(id)));
