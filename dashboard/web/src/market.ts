import type { Delta, Info, QuoteUpdate, Snapshot, Window } from './wire';
import type { Place } from './stream';

const unknownInfo: Info = { currency: '', exchange: '', market_state: 'UNKNOWN', source: 'unknown' };

/** How many minutes a row outlines. */
export const sparkPoints = 60;

export interface Quote {
  symbol: string;
  price: string;
  change: string | undefined;
  percent: string | undefined;
  volume: string | undefined;
  time: number;
  received: number;
  /** Of the trades seen of the exchange's day. */
  high: string | undefined;
  low: string | undefined;
  turnover: string | undefined;
  info: Info;
  spark: [number, string][];
}

/** What the page knows of the market: the sum of a snapshot and its deltas. */
export class Market {
  readonly quotes = new Map<string, Quote>();
  private at: Place | null = null;

  place(): Place | null {
    return this.at;
  }

  /** Starts over. */
  reset(m: Snapshot): void {
    const before = new Set(this.quotes.keys());
    for (const q of m.quotes) {
      before.delete(q.symbol);
      this.quotes.delete(q.symbol);
      this.apply(q);
    }
    for (const gone of before) this.quotes.delete(gone);
    this.at = { epoch: m.epoch, seq: m.seq };
  }

  /** Takes a delta in; false where one before it is missing, which only a snapshot mends. */
  advance(m: Delta): boolean {
    // Values are absolute, so a delta that begins earlier does no harm.
    if (!this.at || m.epoch !== this.at.epoch || m.from > this.at.seq) {
      this.at = null;
      return false;
    }
    for (const q of m.quotes) this.apply(q);
    for (const symbol of m.removed ?? []) this.quotes.delete(symbol);
    this.at = { epoch: m.epoch, seq: m.seq };
    return true;
  }

  private apply(u: QuoteUpdate): void {
    let q = this.quotes.get(u.symbol);
    if (!q) {
      q = { symbol: u.symbol, price: u.price, change: undefined, percent: undefined, volume: undefined, time: 0, received: 0, high: undefined, low: undefined, turnover: undefined, info: unknownInfo, spark: [] };
      this.quotes.set(u.symbol, q);
    }
    q.price = u.price;
    q.change = u.change;
    q.percent = u.percent;
    q.volume = u.volume;
    q.time = u.time;
    q.received = u.received;
    q.high = u.day_high;
    q.low = u.day_low;
    q.turnover = u.turnover;
    if (u.info) q.info = u.info;
    if (u.spark) q.spark = u.spark;
    for (const w of u.windows) outline(q.spark, w);
  }
}

function outline(spark: [number, string][], w: Window): void {
  let i = spark.length;
  while (i > 0 && spark[i - 1]![0] > w.start) i--;
  const last = spark[i - 1];
  if (last && last[0] === w.start) last[1] = w.close;
  else if (i > 0 || spark.length < sparkPoints) spark.splice(i, 0, [w.start, w.close]);
  if (spark.length > sparkPoints) spark.shift();
}
