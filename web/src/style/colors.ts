/** Colors of canvases: the tables of the heat maps, with 256 entries for each theme, and the design tokens. */

import { MIDDLE_LEVEL, N_LEVELS } from "silkcodec";

export type Scale = "energy" | "signed";

const STOPS: Record<Scale, Record<"light" | "dark", string[]>> = {
  energy: {
    light: ["#f4f2ec", "#dbe4e4", "#a9c8cf", "#6aa3b5", "#35779a", "#1d4a77", "#161f45"],
    dark: ["#111317", "#172338", "#1c4263", "#277085", "#56a296", "#a9cf9f", "#f7f1c9"],
  },
  signed: {
    light: ["#14506b", "#4b8ea8", "#a5c9d4", "#f1efe8", "#ecc0a0", "#cf8250", "#8f3d12"],
    dark: ["#8fd6ee", "#4a9dbb", "#245468", "#1a1d22", "#6b3d23", "#bd6c3d", "#f9b98d"],
  },
};

const tables = new Map<string, Uint32Array>();

/** Return a table of 256 pixels for canvases, as ABGR integers (little-endian). */
export function table(scale: Scale, dark: boolean): Uint32Array {
  const key = `${scale}${dark}`;
  let found = tables.get(key);
  if (!found) {
    const stops = STOPS[scale][dark ? "dark" : "light"].map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
    found = Uint32Array.from({ length: 256 }, (_, i) => {
      const place = (i / 255) * (stops.length - 1);
      const low = Math.min(stops.length - 2, Math.floor(place));
      const [r, g, b] = stops[low].map((value, c) => Math.round(value + (place - low) * (stops[low + 1][c] - value)));
      return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
    });
    tables.set(key, found);
  }
  return found;
}

/** Return the CSS color at a place 0..1 of a scale. */
export function css(scale: Scale, dark: boolean, share: number): string {
  const pixel = table(scale, dark)[Math.round(255 * Math.min(1, Math.max(0, share)))];
  return `rgb(${pixel & 255} ${(pixel >> 8) & 255} ${(pixel >> 16) & 255})`;
}

/** Return the place 0..1 of a number from -4 to 3 on the signed scale. */
export function placeOf(number: number): number {
  return (number + MIDDLE_LEVEL) / (N_LEVELS - 1);
}

const tokens = new Map<string, string>();

/** Return the color of a design token for canvases, which do not accept its own value, `light-dark(…)`. */
export function token(name: string, dark: boolean): string {
  const key = `${name}${dark}`;
  let found = tokens.get(key);
  if (found === undefined) {
    const probe = document.createElement("i");
    probe.style.color = `var(${name})`;
    probe.style.colorScheme = dark ? "dark" : "light";
    document.body.append(probe);
    found = getComputedStyle(probe).color;
    probe.remove();
    tokens.set(key, found);
  }
  return found;
}
