/** An action: calls `then` once, when the element is about to come into view. */
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
