// Squarified treemaps: Bruls, Huizing, van Wijk, "Squarified Treemaps" (2000).
// Tiles are laid in rows along the shorter side of what is left, and a row takes
// another tile as long as that makes its worst tile squarer.

export interface Rect {
  x: number;
  y: number;
  width: number;
  height: number;
}

/**
 * Divides the box by weights, which must be in falling order; each rectangle's
 * area is its weight's share. A weight that is not above zero gets no area.
 */
export function squarify(weights: readonly number[], box: Rect): Rect[] {
  const total = weights.reduce((sum, w) => sum + Math.max(w, 0), 0);
  const rects: Rect[] = weights.map(() => ({ x: box.x, y: box.y, width: 0, height: 0 }));
  if (!(total > 0) || !Number.isFinite(total) || box.width <= 0 || box.height <= 0) return rects;
  const scale = (box.width * box.height) / total;
  const areas = weights.map((w) => Math.max(w, 0) * scale);
  let { x, y, width, height } = box;
  let from = 0;
  while (from < areas.length && areas[from]! > 0) {
    const side = Math.min(width, height);
    const most = areas[from]!;
    let sum = most;
    let to = from + 1;
    while (to < areas.length && areas[to]! > 0 && worst(most, areas[to]!, sum + areas[to]!, side) <= worst(most, areas[to - 1]!, sum, side)) {
      sum += areas[to]!;
      to++;
    }
    const last = to >= areas.length || areas[to]! <= 0;
    // The last row takes what is left, so that rounding leaves no gap.
    const thick = last ? Math.max(width, height) : Math.min(sum / side, Math.max(width, height));
    let along = 0;
    for (let i = from; i < to; i++) {
      const length = i === to - 1 ? side - along : (areas[i]! / sum) * side;
      rects[i] = width >= height ? { x, y: y + along, width: thick, height: length } : { x: x + along, y, width: length, height: thick };
      along += length;
    }
    if (width >= height) {
      x += thick;
      width -= thick;
    } else {
      y += thick;
      height -= thick;
    }
    from = to;
  }
  return rects;
}

/** Raises weights, which must be in falling order, so that each that is above zero has at least that share of their sum: what has its place is to be seen and hit. */
export function atLeast(weights: readonly number[], share: number): number[] {
  const least = share * weights.reduce((sum, w) => sum + Math.max(w, 0), 0);
  return weights.map((w) => (w > 0 ? Math.max(w, least) : w));
}

/** The worst ratio of sides in a row whose largest and smallest areas these are. */
function worst(most: number, least: number, sum: number, side: number): number {
  const s2 = side * side;
  return Math.max((s2 * most) / (sum * sum), (sum * sum) / (s2 * least));
}

export type Direction = 'left' | 'right' | 'up' | 'down';

/** The tile that an arrow key leads to from tile i: the nearest whose middle lies that way, straight ahead before aslant; i itself at an edge. */
export function neighbour(rects: readonly Rect[], i: number, direction: Direction): number {
  const from = rects[i];
  if (!from) return i;
  const across = direction === 'up' || direction === 'down';
  const forward = direction === 'right' || direction === 'down' ? 1 : -1;
  let best = i;
  let least = Infinity;
  rects.forEach((r, j) => {
    if (j === i || r.width <= 0 || r.height <= 0) return;
    const gap = across
      ? forward > 0 ? r.y - (from.y + from.height) : from.y - (r.y + r.height)
      : forward > 0 ? r.x - (from.x + from.width) : from.x - (r.x + r.width);
    if (gap < -0.5) return;
    const [a, aEnd, b, bEnd] = across ? [from.x, from.x + from.width, r.x, r.x + r.width] : [from.y, from.y + from.height, r.y, r.y + r.height];
    const overlap = Math.min(aEnd, bEnd) - Math.max(a, b);
    const aside = Math.abs((a + aEnd) / 2 - (b + bEnd) / 2);
    const cost = gap + (overlap > 0 ? 0 : 10_000 - overlap * 10) + aside / 1_000;
    if (cost < least) {
      least = cost;
      best = j;
    }
  });
  return best;
}
