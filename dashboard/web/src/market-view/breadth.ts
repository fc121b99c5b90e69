// Advancers against decliners, now and in the minutes before.

export interface Breadth {
  up: number;
  down: number;
  even: number;
}

export interface BreadthAt extends Breadth {
  /** The start of the minute, ms since the Unix epoch. */
  start: number;
}

/** What breadth needs of a symbol. Closes are of minutes, in order. */
export interface Past {
  change: string | undefined;
  price: string;
  previousClose: string | undefined;
  spark: readonly (readonly [number, string])[];
}

const minute = 60_000;

/** Counts by the sign of the change; symbols without one (no previous close is known) are left out. */
export function breadth(all: Iterable<Past>): Breadth {
  const b = { up: 0, down: 0, even: 0 };
  for (const q of all) {
    if (q.change === undefined) continue;
    const change = Number(q.change);
    if (change > 0) b.up++;
    else if (change < 0) b.down++;
    else b.even++;
  }
  return b;
}

/**
 * The breadth at the end of each of the last minutes, oldest first, by the last
 * close until then against the previous close. A minute from which no symbol
 * has a close yet is left out at the front.
 */
export function breadthOverTime(all: Iterable<Past>, now: number, minutes: number): BreadthAt[] {
  const newest = Math.floor(now / minute) * minute;
  const first = newest - (minutes - 1) * minute;
  const out: BreadthAt[] = Array.from({ length: minutes }, (_, i) => ({ start: first + i * minute, up: 0, down: 0, even: 0 }));
  for (const q of all) {
    if (q.previousClose === undefined) continue;
    const before = Number(q.previousClose);
    let i = 0;
    let close: number | null = null;
    for (const at of out) {
      while (i < q.spark.length && q.spark[i]![0] <= at.start) close = Number(q.spark[i++]![1]);
      if (close === null) continue;
      if (close > before) at.up++;
      else if (close < before) at.down++;
      else at.even++;
    }
  }
  const begins = out.findIndex((b) => b.up + b.down + b.even > 0);
  return begins < 0 ? [] : out.slice(begins);
}
