/** Show the section in the address of the page. */

/**
 * Scroll to a section, and keep it in place while figures above it load and grow, until the reader scrolls. Not all
 * browsers do this themselves.
 */
export function keepInPlace(section: HTMLElement): void {
  let top = 0;
  const stay = () => {
    section.scrollIntoView({ behavior: "instant" });
    top = section.getBoundingClientRect().top;
  };
  const growth = new ResizeObserver(stay);
  const leave = () => {
    if (Math.abs(section.getBoundingClientRect().top - top) < 2) return;
    growth.disconnect();
    removeEventListener("scroll", leave);
  };
  stay();
  growth.observe(document.getElementById("page")!);
  addEventListener("scroll", leave);
}
