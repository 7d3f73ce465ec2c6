/** A Svelte action that calls `then` once, when the element is almost in view. */
export function near(element: HTMLElement, then: () => void): { destroy(): void } {
  const observer = new IntersectionObserver(
    ([entry]) => {
      if (!entry.isIntersecting) return;
      observer.disconnect();
      then();
    },
    { rootMargin: "600px" },
  );
  observer.observe(element);
  return { destroy: () => observer.disconnect() };
}
