import { decimalsFor, format, sign } from './decimal';
import type { Quote } from './market';
import { zoneOf } from './exchanges';
import type { Settings } from './settings';

export const arrow = (s: -1 | 0 | 1): string => (s > 0 ? '▲' : s < 0 ? '▼' : '·');

/** A change with its sign always written: +2.24, −0.50. */
export function signed(text: string, decimals: number): string {
  return (sign(text) > 0 ? '+' : '') + format(text, decimals);
}

export function decimalsOf(q: Quote): number {
  return decimalsFor(q.symbol, q.price);
}

export function priceText(q: Quote): string {
  return format(q.price, decimalsOf(q));
}

export function changeText(q: Quote): string {
  return q.change === undefined ? '' : signed(q.change, decimalsOf(q));
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

const shapes = {
  second: { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' },
  minute: { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' },
  weekday: { weekday: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' },
  day: { day: 'numeric', month: 'short' },
  date: { day: 'numeric', month: 'short', year: 'numeric' },
  month: { month: 'short' },
  year: { year: 'numeric' },
  full: { weekday: 'short', day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' },
} satisfies Record<string, Intl.DateTimeFormatOptions>;
export type Shape = keyof typeof shapes;

let zone: Settings['zone'] = 'exchange';
const formats = new Map<string, Intl.DateTimeFormat>();

/** Sets whose clock times are written by from here on. */
export function useZone(z: Settings['zone']): void {
  zone = z;
}

/** The zone that times of an exchange are written in, as set; undefined for this device's. */
export function zoneFor(exchange: string): string | undefined {
  if (zone === 'local') return undefined;
  return zone === 'utc' ? 'UTC' : zoneOf(exchange);
}

/** A time (ms) as set: by the exchange's clock, this device's, or UTC. */
export function zonedText(ms: number, shape: Shape, exchange: string): string {
  return formatter(shape, zoneFor(exchange)).format(ms).replace(', ', ' ').replace('Sept', 'Sep');
}

/** When a market opens next, in words: "opens Wed 09:30 EST". */
export function openingText(at: number, now: number, exchange: string): string {
  return `opens ${zonedText(at, at - now < 12 * 3_600_000 ? 'minute' : 'weekday', exchange)} ${zoneName(at, exchange)}`;
}

/** A time (ms) in a named zone. */
export function textIn(ms: number, shape: Shape, timeZone: string): string {
  return formatter(shape, timeZone).format(ms).replace('Sept', 'Sep');
}

/** A time of the page itself, such as when something was last heard: local or UTC, as set. */
export function clockText(ms: number): string {
  return formatter('second', zone === 'utc' ? 'UTC' : undefined).format(ms);
}

/** The short name of the zone that an exchange's times are written in, such as EST or UTC. */
export function zoneName(ms: number, exchange: string): string {
  const timeZone = zoneFor(exchange);
  // Each locale knows short names for its own part of the world.
  for (const locale of ['en-US', 'en-GB', 'en-AU', 'en-IN']) {
    const key = `${locale} ${timeZone ?? ''}`;
    let f = formats.get(key);
    if (!f) {
      f = new Intl.DateTimeFormat(locale, { timeZoneName: 'short', ...(timeZone ? { timeZone } : {}) });
      formats.set(key, f);
    }
    const name = f.formatToParts(ms).find((p) => p.type === 'timeZoneName')?.value ?? '';
    if (!/^(GMT|UTC)[+-]/.test(name) || locale === 'en-IN') return name;
  }
  return '';
}

function formatter(shape: Shape, timeZone: string | undefined): Intl.DateTimeFormat {
  const key = `${shape} ${timeZone ?? ''}`;
  let f = formats.get(key);
  if (!f) {
    f = new Intl.DateTimeFormat('en-GB', { ...shapes[shape], ...(timeZone ? { timeZone } : {}) });
    formats.set(key, f);
  }
  return f;
}

export const markets = { UNKNOWN: '', PRE: 'Pre-market', REGULAR: 'Market open', POST: 'After hours', CLOSED: 'Market closed' } as const;
