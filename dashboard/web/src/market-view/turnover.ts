// The money that changed hands in a symbol on its exchange's day, in one
// currency, so that areas can be compared. For areas only: floats will do.

/** What is needed of a symbol. */
export interface Traded {
  symbol: string;
  price: string;
  /** Of the exchange's day. */
  volume: string | undefined;
  currency: string;
  exchange: string;
}

/** Subunits in which some exchanges quote. */
const subunits: Record<string, [string, number]> = { GBp: ['GBP', 100], GBX: ['GBP', 100], ILA: ['ILS', 100], ZAc: ['ZAR', 100] };

/** What one unit of each currency is worth in dollars, as far as the pairs among the symbols tell: EURUSD=X, and JPY=X for dollars in yen. */
export function dollarRates(all: Iterable<Traded>): Map<string, number> {
  const rates = new Map([['USD', 1]]);
  for (const q of all) {
    const price = Number(q.price);
    if (!(price > 0)) continue;
    const pair = /^([A-Z]{3})?([A-Z]{3})=X$/.exec(q.symbol);
    if (!pair) continue;
    const [, base, quoted] = pair;
    if (base === undefined || base === 'USD') rates.set(quoted!, 1 / price);
    else if (quoted === 'USD') rates.set(base, price);
  }
  return rates;
}

/** The day's turnover in dollars, null where it can't be told: an index and a pair have none, a future's contract has a size that no tick tells, and a currency needs a rate. */
export function turnover(q: Traded, rates: ReadonlyMap<string, number>): number | null {
  if (q.symbol.startsWith('^') || q.symbol.endsWith('=X') || q.symbol.endsWith('=F')) return null;
  const volume = Number(q.volume ?? NaN);
  const price = Number(q.price);
  if (!(volume > 0) || !(price > 0)) return null;
  const [currency, parts] = subunits[q.currency] ?? [q.currency, 1];
  const rate = rates.get(currency);
  if (rate === undefined) return null;
  // Yahoo's volume of a coin is money already.
  return (q.exchange === 'CCC' ? volume : volume * price) * (rate / parts);
}
