import { nameOf } from './names';
import { Signal } from './store';

/** A symbol of the watch list, as the function watchlist tells it. */
export interface Watched {
  symbol: string;
  name: string;
  exchange: string;
  state: 'active' | 'unknown';
  /** Why it is unknown. */
  reason: string;
  /** Whether a trade of it is on the stream. */
  shown: boolean;
}

export type WatchState =
  | { kind: 'loading' }
  | { kind: 'ready'; symbols: ReadonlyMap<string, Watched> }
  /** No watch list can be read: what trades is listed instead. */
  | { kind: 'away'; reason: string };

/** What adding or removing came to. */
export type Outcome = { kind: 'done' } | { kind: 'token' } | { kind: 'failed'; reason: string };

/** The watch list: which symbols are followed, kept by the service. */
export class WatchStore {
  readonly state = new Signal<WatchState>({ kind: 'loading' });

  /** Reads the list. */
  async load(): Promise<void> {
    try {
      const response = await fetch('api/watchlist', { cache: 'no-store' });
      if (!response.ok) {
        this.lost(await reasonOf(response));
        return;
      }
      const answer = (await response.json()) as { symbols?: Partial<Watched>[] };
      const symbols = new Map<string, Watched>();
      for (const w of answer.symbols ?? []) {
        if (!w.symbol) continue;
        symbols.set(w.symbol, { symbol: w.symbol, name: w.name ?? '', exchange: w.exchange ?? '', state: w.state === 'unknown' ? 'unknown' : 'active', reason: w.reason ?? '', shown: w.shown !== false });
      }
      this.state.set({ kind: 'ready', symbols });
    } catch {
      this.lost('The dashboard does not answer.');
    }
  }

  add(symbol: string): Promise<Outcome> {
    return this.change('POST', symbol);
  }

  remove(symbol: string): Promise<Outcome> {
    return this.change('DELETE', symbol);
  }

  get(symbol: string): Watched | undefined {
    const s = this.state.get();
    return s.kind === 'ready' ? s.symbols.get(symbol) : undefined;
  }

  nameOf(symbol: string): string {
    return this.get(symbol)?.name || nameOf(symbol);
  }

  private lost(reason: string): void {
    // A list that was read once is better than none.
    if (this.state.get().kind !== 'ready') this.state.set({ kind: 'away', reason });
  }

  private async change(method: 'POST' | 'DELETE', symbol: string): Promise<Outcome> {
    try {
      const response =
        method === 'POST'
          ? await fetch('api/watchlist', { method, headers: { 'content-type': 'application/json' }, body: JSON.stringify({ symbol }) })
          : await fetch(`api/watchlist?symbol=${encodeURIComponent(symbol)}`, { method });
      if (response.status === 401) return { kind: 'token' };
      if (!response.ok) return { kind: 'failed', reason: await reasonOf(response) };
      await this.load();
      return { kind: 'done' };
    } catch {
      return { kind: 'failed', reason: 'The dashboard does not answer.' };
    }
  }
}

/** What an answer says went wrong, as problem+json or in general. */
export async function reasonOf(response: Response): Promise<string> {
  const problem = (await response.json().catch(() => null)) as { detail?: string } | null;
  return problem?.detail ?? `The dashboard answers ${response.status}.`;
}
