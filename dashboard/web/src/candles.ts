import { text, units } from './decimal';
import type { Candle, CandlesAnswer, Window } from './wire';

export const intervals = { '1m': 60_000, '5m': 300_000, '15m': 900_000, '1h': 3_600_000, '1d': 86_400_000 } as const;
export type Interval = keyof typeof intervals;

export function isInterval(text: string): text is Interval {
  return Object.hasOwn(intervals, text);
}

/**
 * The candles of one symbol and interval: history as it was stored, with the
 * live windows laid over it. A candle whose minutes are all at hand is added up
 * from them, so it is exact and a late trade corrects it.
 */
export class Candles {
  private readonly stored = new Map<number, Candle>();
  private readonly windows = new Map<number, Map<number, Window>>(); // by candle, then start
  private readonly fetched = new Map<number, { volume: bigint; turnover: bigint }>(); // of windows when history was read
  private covered = Infinity; // from here on all windows are at hand
  private seq = 0;
  private readonly length: number;
  /** Days don't begin at multiples of their length, so their starts are listed, oldest first. */
  private days: number[] | null = null;
  private dayEnd = 0;

  constructor(answer: CandlesAnswer, interval: Interval) {
    this.length = intervals[interval];
    this.take(answer);
  }

  /** Takes in the newest page of history as it is told at present. Older pages stay. */
  take(answer: CandlesAnswer): void {
    this.seq = answer.seq;
    this.covered = answer.windows[0]?.start ?? Infinity;
    for (const c of answer.candles) this.stored.set(c.start, c);
    if (answer.day) {
      this.days = [...new Set([...this.stored.keys(), answer.day.start])].sort((a, b) => a - b);
      this.dayEnd = answer.day.end;
    }
    this.windows.clear();
    this.fetched.clear();
    for (const w of answer.windows) {
      this.put(w);
      this.fetched.set(w.start, { volume: BigInt(w.volume), turnover: units(w.turnover ?? '0') });
    }
  }

  /** Adds older candles; false where there are none. */
  prepend(older: Candle[]): boolean {
    let added = false;
    for (const c of older) {
      if (this.stored.has(c.start)) continue;
      this.stored.set(c.start, c);
      this.days?.push(c.start);
      added = true;
    }
    this.days?.sort((a, b) => a - b);
    return added;
  }

  /** Takes windows in and returns the starts of the candles that they change, in order. */
  update(windows: Window[]): number[] {
    const starts = new Set<number>();
    for (const w of windows) {
      const start = this.put(w);
      if (start !== null) starts.add(start);
    }
    return [...starts].sort((a, b) => a - b);
  }

  all(): Candle[] {
    const starts = new Set([...this.stored.keys(), ...this.windows.keys()]);
    return [...starts].sort((a, b) => a - b).map((s) => this.candle(s)).filter((c) => c !== null);
  }

  candle(start: number): Candle | null {
    const stored = this.stored.get(start);
    const live = [...(this.windows.get(start)?.values() ?? [])].sort((a, b) => a.start - b.start);
    const first = live[0];
    const last = live.at(-1);
    if (!first || !last) return stored ?? null;
    // What was sealed has been audited; only what came later says more.
    if (stored?.sealed && live.every((w) => w.rev <= this.seq)) return stored;
    const whole = !stored || start >= this.covered;
    const sum: Candle = {
      start,
      open: whole ? first.open : stored.open,
      high: whole ? first.high : stored.high,
      low: whole ? first.low : stored.low,
      close: last.close,
      volume: '0',
      ticks: 0,
    };
    let volume = whole ? 0n : BigInt(stored.volume);
    const base = whole ? '0' : stored.turnover;
    let turnover = base !== undefined && live.every((w) => w.turnover !== undefined) ? units(base) : null;
    for (const w of live) {
      if (units(w.high) > units(sum.high)) sum.high = w.high;
      if (units(w.low) < units(sum.low)) sum.low = w.low;
      const had = whole ? undefined : this.fetched.get(w.start);
      volume += BigInt(w.volume) - (had?.volume ?? 0n);
      if (turnover !== null) turnover += units(w.turnover!) - (had?.turnover ?? 0n);
      sum.ticks += w.ticks;
    }
    sum.volume = volume.toString();
    if (turnover !== null) sum.turnover = text(turnover);
    return sum;
  }

  /** Keeps a window unless a newer one is known, and returns the start of its candle. */
  private put(w: Window): number | null {
    const start = this.bucket(w.start);
    if (start === null) return null;
    const live = this.windows.get(start) ?? new Map<number, Window>();
    const known = live.get(w.start);
    if (known && known.rev > w.rev) return null;
    this.windows.set(start, live.set(w.start, w));
    return start;
  }

  private bucket(t: number): number | null {
    if (!this.days) return t - (t % this.length);
    if (t >= this.dayEnd) return this.dayEnd;
    return this.days.findLast((start) => start <= t) ?? null;
  }
}

/** Why candles can't be shown, in a sentence. */
export class CandlesError extends Error {
  constructor(
    message: string,
    readonly unknown: boolean,
  ) {
    super(message);
  }
}

export async function fetchCandles(symbol: string, interval: Interval, signal: AbortSignal, before?: number): Promise<CandlesAnswer> {
  const query = new URLSearchParams({ symbol, interval });
  if (before !== undefined) query.set('before', String(before));
  const response = await fetch(`api/candles?${query}`, { signal, cache: 'no-store' });
  if (!response.ok) {
    const problem = (await response.json().catch(() => null)) as { detail?: string } | null;
    throw new CandlesError(problem?.detail ?? `The dashboard answers ${response.status}.`, response.status === 404);
  }
  return (await response.json()) as CandlesAnswer;
}
