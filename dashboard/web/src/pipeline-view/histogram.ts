// Delays, in milliseconds, in buckets whose width grows with the delay, so that
// a share of 5 ms and one of 5 s are told with the same relative error (the idea
// of HdrHistogram). Seconds of the past fall out as they grow old.

const perDoubling = 4;
const least = 1; // ms; what is below is one bucket
const doublings = 17; // up to 131 s
/** How many buckets there are: one below the least delay, one above the most. */
export const buckets = perDoubling * doublings + 2;

/** Where a bucket begins, in milliseconds; that of the first is 0. */
export function bucketStart(i: number): number {
  return i <= 0 ? 0 : least * 2 ** ((i - 1) / perDoubling);
}

export function bucketOf(ms: number): number {
  if (!(ms >= least)) return 0;
  // A hair is added so that a bucket's own start falls into it.
  return Math.min(1 + Math.floor(Math.log2(ms / least) * perDoubling + 1e-9), buckets - 1);
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
  constructor(readonly over = 60) {
    this.slots = Array.from({ length: over }, () => ({ second: -1, counts: new Uint32Array(buckets), max: 0 }));
  }

  /** Adds a delay that was seen at that time; both in milliseconds. One that is no number is left out. */
  add(at: number, delay: number, times = 1): void {
    if (!Number.isFinite(delay)) return;
    const second = Math.floor(at / 1000);
    const slot = this.slots[second % this.over]!;
    if (slot.second !== second) {
      slot.second = second;
      slot.counts.fill(0);
      slot.max = 0;
    }
    const d = Math.max(delay, 0);
    slot.counts[bucketOf(d)]! += times;
    if (d > slot.max) slot.max = d;
  }

  /** How many delays each bucket has, of the seconds up to now. */
  counts(now: number, into = new Float64Array(buckets)): Float64Array {
    into.fill(0);
    for (const slot of this.fresh(now)) for (let i = 0; i < buckets; i++) into[i]! += slot.counts[i]!;
    return into;
  }

  /** null where nothing was seen. */
  summary(now: number): Summary | null {
    let max = 0;
    for (const slot of this.fresh(now)) max = Math.max(max, slot.max);
    return summary(this.counts(now), max);
  }

  clear(): void {
    for (const slot of this.slots) slot.second = -1;
  }

  private *fresh(now: number) {
    const second = Math.floor(now / 1000);
    for (const slot of this.slots) if (slot.second > second - this.over && slot.second <= second) yield slot;
  }
}

export function summary(counts: ArrayLike<number>, max: number): Summary | null {
  let count = 0;
  for (let i = 0; i < counts.length; i++) count += counts[i]!;
  if (count === 0) return null;
  const at = (share: number) => Math.min(quantile(counts, count, share), max);
  return { count, p50: at(0.5), p95: at(0.95), p99: at(0.99), max };
}

/** The delay that this share of all is not above, by proportion within its bucket. */
export function quantile(counts: ArrayLike<number>, count: number, share: number): number {
  const rank = share * count;
  let below = 0;
  for (let i = 0; i < counts.length; i++) {
    const n = counts[i]!;
    if (n > 0 && below + n >= rank) return bucketStart(i) + (bucketStart(i + 1) - bucketStart(i)) * Math.max(0, (rank - below) / n);
    below += n;
  }
  return bucketStart(counts.length);
}
