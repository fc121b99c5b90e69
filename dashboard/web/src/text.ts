import { decimalsFor, format, sign } from './decimal';
import type { Quote } from './market';

export const arrow = (s: -1 | 0 | 1): string => (s > 0 ? '▲' : s < 0 ? '▼' : '·');

/** A change with its sign always written: +2.24, −0.50. */
export function signed(text: string, decimals: number): string {
  return (sign(text) > 0 ? '+' : '') + format(text, decimals);
}

export function priceText(q: Quote): string {
  return format(q.price, decimalsFor(q.symbol, q.price));
}

export function changeText(q: Quote): string {
  return q.change === undefined ? '' : signed(q.change, decimalsFor(q.symbol, q.price));
}

export function percentText(q: Quote): string {
  return q.percent === undefined ? '' : signed(q.percent, 2) + ' %';
}

/** How long ago, in one unit: 12 s, 4 min, 3 h, 2 days. */
export function age(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.round(s / 60)} min`;
  if (s < 48 * 3600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} days`;
}

export const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
export const minuteClock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
export const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
export const utcDay = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC' });

export const markets = { UNKNOWN: '', PRE: 'Pre-market', REGULAR: 'Market open', POST: 'After hours', CLOSED: 'Market closed' } as const;
