// Delays, in milliseconds, in buckets whose width grows with the delay, so that
// 5 ms and 5 s are told with like relative error (the idea of HdrHistogram).
// Seconds of the past fall out as they grow old.

/** The service's upper bounds of buckets, ms, for as long as it has not said them: about a factor √2 apart. */
export const usualBounds: readonly number[] = Array.from({ length: 17 }, (_, i) => [2 ** i, 3 * 2 ** (i - 1)]).flat().filter((b) => b === 1 || b >= 2);

/** The bucket of a delay: the first whose upper bound is not below it, or the one above all bounds. */
export function bucketOf(bounds: readonly number[], ms: number): number {
  let [low, high] = [0, bounds.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (bounds[middle]! < ms) low = middle + 1;
    else high = middle;
  }
  return low;
}

export interface Summary {
  count: number;
  p50: number;
  p95: number;
  p99: number;
  max: number;
}

/** The delays of the last seconds. */
export class Delays {
  private readonly slots: { second: number; counts: Uint32Array; max: number }[];

  /** over is how many seconds are kept. */
  constructor(readonly bounds: readonly number[] = usualBounds, readonly over = 60) {
    this.slots = Array.from({ length: over }, () => ({ second: -1, counts: new Uint32Array(bounds.length + 1), max: 0 }));
  }

  /** Adds a delay that was seen at that time; both in milliseconds. One that is no number is left out. */
  add(at: number, delay: number): void {
    if (!Number.isFinite(delay)) return;
    const second = Math.floor(at / 1000);
    const slot = this.slots[second % this.over]!;
    if (slot.second !== second) {
      slot.second = second;
      slot.counts.fill(0);
      slot.max = 0;
    }
    const d = Math.max(delay, 0);
    slot.counts[bucketOf(this.bounds, d)]!++;
    if (d > slot.max) slot.max = d;
  }

  /** How many delays each bucket has, of the seconds up to now. */
  counts(now: number): number[] {
    const sums = new Array<number>(this.bounds.length + 1).fill(0);
    for (const slot of this.fresh(now)) slot.counts.forEach((n, i) => { sums[i]! += n; });
    return sums;
  }

  /** null where nothing was seen. */
  summary(now: number): Summary | null {
    let max = 0;
    for (const slot of this.fresh(now)) max = Math.max(max, slot.max);
    const counts = this.counts(now);
    const count = counts.reduce((a, b) => a + b, 0);
    if (count === 0) return null;
    const at = (share: number) => quantile(this.bounds, counts, count, share, max);
    return { count, p50: at(0.5), p95: at(0.95), p99: at(0.99), max };
  }

  clear(): void {
    for (const slot of this.slots) slot.second = -1;
  }

  private *fresh(now: number) {
    const second = Math.floor(now / 1000);
    for (const slot of this.slots) if (slot.second > second - this.over && slot.second <= second) yield slot;
  }
}

/** The delay that this share of all is not above, by proportion within its bucket; never above the most that was seen. */
function quantile(bounds: readonly number[], counts: readonly number[], count: number, share: number, max: number): number {
  const rank = share * count;
  let below = 0;
  for (let i = 0; i < counts.length; i++) {
    const n = counts[i]!;
    if (n > 0 && below + n >= rank) {
      const [from, to] = [bounds[i - 1] ?? 0, Math.min(bounds[i] ?? max, max)];
      return Math.min(from + (to - from) * ((rank - below) / n), max);
    }
    below += n;
  }
  return max;
}
