import type { Market } from './market';
import type { ExchangeStore } from './exchanges';
import type { StreamState } from './stream';
import { age, clockText, openingText } from './text';
import type { Pulse } from './wire';

/** Without an update for so long the feed is called stale, ms. */
export const feedStaleAfter = 30_000;

/** How the page stands with the service, the service with Kafka, and the market with its hours. */
export type Word = 'connecting' | 'loading' | 'live' | 'delayed' | 'stale' | 'closed' | 'waiting' | 'interrupted' | 'reconnecting' | 'offline' | 'token';

export interface Status {
  readonly word: Word;
  /** A few words for the header. */
  readonly text: string;
  /** A sentence more where something is wrong or worth knowing. */
  readonly notice: string;
}

export const connecting: Status = { word: 'connecting', text: 'Connecting', notice: '' };

/** What a status is told from. Times are ms; local ones by this device's clock. */
export interface Facts {
  link: StreamState;
  everOpen: boolean;
  pulse: Pulse | null;
  /** When the pulse came, local. */
  heard: number;
  local: number;
  market: Market;
  exchanges: ExchangeStore;
}

export function statusOf(f: Facts): Status {
  const { link: s, pulse: p, market } = f;
  const known = market.quotes.size > 0;
  const asOf = known && p ? ` Prices are as of ${clockText(f.heard)}.` : '';
  switch (s.kind) {
    case 'offline':
      return { word: 'offline', text: 'Offline', notice: `This device has no network.${asOf}` };
    case 'waiting': {
      const left = Math.max(1, Math.ceil((s.until - f.local) / 1000));
      return { word: 'reconnecting', text: `Reconnecting in ${left} s`, notice: `${s.reason || 'The dashboard does not answer.'} It is tried again by itself.${asOf}` };
    }
    case 'token':
      return { word: 'token', text: 'Token needed', notice: `This dashboard wants a token.${asOf}` };
    case 'connecting':
      return f.everOpen ? { word: 'reconnecting', text: 'Reconnecting', notice: `The connection to the dashboard was lost.${asOf}` } : connecting;
    case 'open':
  }
  if (!p) return connecting;
  if (!p.connected && known) {
    return { word: 'interrupted', text: 'Feed interrupted', notice: `${p.problem ?? 'Kafka can’t be read.'} Prices are as of ${clockText(p.last_update || f.heard)}.` };
  }
  if (!known) return { word: 'waiting', text: 'No data yet', notice: '' };
  if (!p.caught_up) return { word: 'loading', text: `Catching up · ${p.behind.toLocaleString('en')} to go`, notice: '' };
  const now = p.now + (f.local - f.heard);
  const closed = closing(market, f.exchanges, now);
  if (closed !== null) return { word: 'closed', text: closed, notice: '' };
  if (!p.last_update) return { word: 'stale', text: 'No trade yet', notice: '' };
  const quiet = now - p.last_update;
  if (quiet > feedStaleAfter) return { word: 'stale', text: `No update for ${age(quiet)}`, notice: '' };
  const late = delay(market);
  if (late > 0) return { word: 'delayed', text: `Delayed ${late} min`, notice: '' };
  return { word: 'live', text: 'Live', notice: '' };
}

/** What to say where every market is closed; null where one is open or not known to be closed. */
function closing(market: Market, exchanges: ExchangeStore, now: number): string | null {
  let soonest = Infinity;
  let where = '';
  for (const code of new Set([...market.quotes.values()].map((q) => q.info.exchange))) {
    const e = exchanges.get(code);
    if (e?.session !== 'closed') return null;
    if (e.next_open !== undefined && e.next_open < soonest) [soonest, where] = [e.next_open, code];
  }
  return where ? `Market closed · ${openingText(soonest, now, where)}` : 'Market closed';
}

/** The delay of the data in minutes where all are delayed, the shortest of them. */
function delay(market: Market): number {
  let least = Infinity;
  for (const q of market.quotes.values()) least = Math.min(least, q.info.delayed_by ?? 0);
  return Number.isFinite(least) ? least : 0;
}
