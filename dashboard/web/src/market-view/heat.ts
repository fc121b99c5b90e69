// Colours for changes: from the theme's neutral towards its up or down in
// steps, each with the ink that reads best on it.

export type Rgb = readonly [number, number, number];

/** How many steps there are on each side of none. */
export const steps = 5;

/** Reads #rgb and #rrggbb. */
export function parse(hex: string): Rgb {
  const h = hex.trim().replace('#', '');
  const full = h.length === 3 ? [...h].map((c) => c + c).join('') : h;
  const n = parseInt(full, 16);
  return [(n >> 16) & 255, (n >> 8) & 255, n & 255];
}

export function mix(a: Rgb, b: Rgb, share: number): Rgb {
  return [0, 1, 2].map((i) => Math.round(a[i]! + (b[i]! - a[i]!) * share)) as unknown as Rgb;
}

/** Contrast as WCAG 2 defines it, 1 to 21. */
export function contrast(a: Rgb, b: Rgb): number {
  const [x, y] = [luminance(a), luminance(b)];
  return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
}

function luminance(c: Rgb): number {
  const [r, g, b] = c.map((v) => {
    const s = v / 255;
    return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
}

export const css = (c: Rgb): string => `rgb(${c[0]} ${c[1]} ${c[2]})`;

export interface Shade {
  ground: Rgb;
  ink: Rgb;
}

const black: Rgb = [0, 0, 0];
const white: Rgb = [255, 255, 255];
const readable = 4.5; // WCAG AA

/** The shade of a step from −steps to steps. The first of the inks that can be read is taken, else black or white, of which one always can. */
export function shade(step: number, neutral: Rgb, up: Rgb, down: Rgb, inks: readonly Rgb[]): Shade {
  const strength = step === 0 ? 0 : 0.12 + (0.76 * Math.abs(step)) / steps;
  const ground = mix(neutral, step < 0 ? down : up, strength);
  const ink = inks.find((c) => contrast(c, ground) >= readable) ?? (contrast(black, ground) > contrast(white, ground) ? black : white);
  return { ground, ink };
}

/** The step of a change, where the last step begins at most percent. */
export function stepOf(percent: number | null, most: number): number {
  if (percent === null || percent === 0 || !Number.isFinite(percent)) return 0;
  const n = Math.min(Math.ceil((Math.abs(percent) / most) * steps), steps);
  return percent < 0 ? -n : n;
}
