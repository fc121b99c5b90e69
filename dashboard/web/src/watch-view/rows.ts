import type { Exchange } from '../exchanges';
import type { Quote } from '../market';
import type { Watched } from '../watch-store';
import { age } from '../text';

/** Without a trade for so long a symbol looks stale, ms. */
export const staleAfter = 120_000;
/** Without a trade for so long, while others of its exchange trade, it looks halted, ms. */
export const haltedAfter = 600_000;

export type RowState = 'live' | 'stale' | 'halted' | 'closed' | 'none' | 'unknown';

/** How a symbol is doing, and that in a few words where they say more than its name. */
export function rowState(quote: Quote | undefined, watched: Watched | undefined, exchange: Exchange | undefined, now: number): [RowState, string] {
  if (watched?.state === 'unknown') return ['unknown', watched.reason || 'Unknown symbol'];
  if (!quote) return ['none', 'No data yet'];
  const quiet = now - quote.time;
  const session = exchange?.session ?? (quote.info.market_state === 'CLOSED' ? 'closed' : 'unknown');
  if (session === 'closed') return ['closed', 'Closed'];
  if (quiet <= staleAfter) return ['live', ''];
  const halted = session === 'open' && exchange?.known_by === 'trades' && quiet > haltedAfter;
  return halted ? ['halted', `No trade ${age(quiet)}`] : ['stale', `${age(quiet)} ago`];
}

export const columns = ['symbol', 'trend', 'last', 'change', 'percent', 'volume', 'range'] as const;
export type Column = (typeof columns)[number];

export const titles: Record<Column, string> = { symbol: 'Symbol', trend: 'Day', last: 'Last', change: 'Change', percent: 'Chg %', volume: 'Volume', range: 'Day range' };

export interface Order {
  by: Column;
  down: boolean;
}

export function parseOrder(text: string): Order | null {
  const by = text.replace(/^-/, '') as Column;
  return columns.includes(by) ? { by, down: text.startsWith('-') } : null;
}

/** What a press on a column's head leads to: numbers begin with the largest, names with A; a third press leads back to the list's own order. */
export function nextOrder(now: Order | null, by: Column): Order | null {
  const first = by !== 'symbol';
  if (now?.by !== by) return { by, down: first };
  return now.down === first ? { by, down: !first } : null;
}

/** A number to sort by; symbols without one come last either way. */
export function sortKey(q: Quote | undefined, by: Column): number {
  const number = (text: string | undefined) => (text === undefined || text === '' ? NaN : Number(text));
  switch (by) {
    case 'symbol':
      return NaN;
    case 'last':
      return number(q?.price);
    case 'change':
      return number(q?.change);
    case 'percent':
    case 'trend': // the day's trend, from its previous close
      return number(q?.percent);
    case 'volume':
      return number(q?.volume);
    case 'range':
      return (place(q) ?? NaN) * 100;
  }
}

/** Where in the day's range the price is, 0 to 1; null where no range is known. */
export function place(q: Quote | undefined): number | null {
  if (q?.high === undefined || q.low === undefined) return null;
  const low = Number(q.low);
  const span = Number(q.high) - low;
  return span > 0 ? Math.min(1, Math.max(0, (Number(q.price) - low) / span)) : 0.5;
}

export function sorted(symbols: string[], quotes: ReadonlyMap<string, Quote>, order: Order | null): string[] {
  const byName = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
  if (!order || order.by === 'symbol') {
    const list = [...symbols].sort(byName);
    return order?.down ? list.reverse() : list;
  }
  const keys = new Map(symbols.map((s) => [s, sortKey(quotes.get(s), order.by)]));
  return [...symbols].sort((a, b) => {
    const x = keys.get(a)!;
    const y = keys.get(b)!;
    if (Number.isNaN(x) || Number.isNaN(y)) return Number(Number.isNaN(x)) - Number(Number.isNaN(y)) || byName(a, b);
    return (order.down ? y - x : x - y) || byName(a, b);
  });
}
