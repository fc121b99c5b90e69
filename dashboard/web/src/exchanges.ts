import { Signal } from './store';

/** An exchange's hours, as the service knows them. */
export interface Exchange {
  exchange: string;
  name?: string;
  time_zone: string;
  session: 'open' | 'pre' | 'post' | 'closed' | 'unknown';
  known_by: 'trades' | 'hours' | 'nothing';
  /** It never closes. */
  always?: boolean;
  /** ms since 1970. */
  next_open?: number;
  next_close?: number;
}

// What people call those that the service knows by code alone.
const names: Record<string, string> = {
  NMS: 'Nasdaq', NGM: 'Nasdaq', NCM: 'Nasdaq', NYQ: 'NYSE', ASE: 'NYSE American', PCX: 'NYSE Arca', BTS: 'Cboe BZX', SNP: 'S&P', DJI: 'Dow Jones',
  CCC: 'Crypto', CCY: 'Currencies', CMX: 'COMEX', NYM: 'NYMEX', CME: 'CME', CBT: 'CBOT', GER: 'Xetra', LSE: 'London', PAR: 'Paris', AMS: 'Amsterdam', JPX: 'Tokyo', HKG: 'Hong Kong', TOR: 'Toronto',
};

const zones = new Map<string, string>();

/** The time zone of an exchange; UTC for one that has none of its own or is not known. */
export function zoneOf(exchange: string): string {
  return zones.get(exchange) ?? 'UTC';
}

/** Which exchanges are open, asked of the service at times. */
export class ExchangeStore {
  readonly all = new Signal<ReadonlyMap<string, Exchange>>(new Map());

  async load(): Promise<void> {
    try {
      const response = await fetch('api/markets', { cache: 'no-store' });
      if (!response.ok) return; // what is known stays
      const { markets } = (await response.json()) as { markets?: Exchange[] };
      for (const m of markets ?? []) {
        if (m.time_zone && knownZone(m.time_zone)) zones.set(m.exchange, m.time_zone);
      }
      this.all.set(new Map((markets ?? []).map((m) => [m.exchange, m])));
    } catch {
      // The stream tells that the service is away.
    }
  }

  /** What people call an exchange. */
  nameOf(exchange: string): string {
    return this.get(exchange)?.name || names[exchange] || exchange;
  }

  get(exchange: string): Exchange | undefined {
    return this.all.get().get(exchange);
  }
}

function knownZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
