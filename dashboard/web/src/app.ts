import { ExchangeStore } from './exchanges';
import { BrowserClock } from './latency';
import { Market } from './market';
import { Router } from './router';
import { SettingsStore } from './settings';
import { connecting, type Status } from './status';
import { Signal } from './store';
import type { Stream, StreamState } from './stream';
import type { TableSource } from './table';
import { WatchStore } from './watch-store';
import type { Message, Pulse, QuoteUpdate } from './wire';

/** What a view is given: the market, where the page is, and how things are. */
export class App {
  readonly settings = new SettingsStore();
  readonly router = new Router('watch');
  readonly market = new Market();
  readonly watch = new WatchStore();
  readonly exchanges = new ExchangeStore();
  readonly clock = new BrowserClock();
  /** The pipeline's pulse, once a second; null before the first. */
  readonly pulse = new Signal<Pulse | null>(null);
  readonly link = new Signal<StreamState>({ kind: 'connecting' });
  readonly status = new Signal<Status>(connecting);
  /** The symbol that is looked at, which the address need not name. */
  readonly symbol = new Signal('');
  /** Set by main, which makes it. */
  stream!: Stream;

  private readonly frames = new Set<(changed: ReadonlySet<string>) => void>();
  private readonly seconds = new Set<(now: number) => void>();
  private readonly updates = new Set<(u: QuoteUpdate) => void>();
  private readonly snapshots = new Set<() => void>();
  private readonly messages = new Set<(m: Message) => void>();
  private readonly tables = new Set<(host: HTMLElement, source: TableSource) => void>();
  private readonly offered: { host: HTMLElement; source: TableSource }[] = [];
  private readonly changed = new Set<string>();
  private frame = 0;

  /** Calls f in the animation frame after quotes changed, with the symbols that did, those that went too: the place to draw. */
  onFrame(f: (changed: ReadonlySet<string>) => void): () => void {
    return follow(this.frames, f);
  }

  /** Calls f once a second with the service's time, ms. */
  onSecond(f: (now: number) => void): () => void {
    return follow(this.seconds, f);
  }

  /** Calls f with each quote of a delta as it comes. Draw in onFrame instead. */
  onUpdate(f: (u: QuoteUpdate) => void): () => void {
    return follow(this.updates, f);
  }

  /** Calls f after a snapshot has replaced what was known, and at once where there has been one. */
  onSnapshot(f: () => void): () => void {
    if (this.market.place()) f();
    return follow(this.snapshots, f);
  }

  /** Calls f with every message of the service. */
  onMessage(f: (m: Message) => void): () => void {
    return follow(this.messages, f);
  }

  /** Offers the table behind a chart; host is the toolbar that a button for it belongs into. */
  offerTable(host: HTMLElement, source: TableSource): void {
    this.offered.push({ host, source });
    for (const f of this.tables) f(host, source);
  }

  /** Calls f with each table that is offered, those offered before too. */
  onTable(f: (host: HTMLElement, source: TableSource) => void): () => void {
    for (const { host, source } of this.offered) f(host, source);
    return follow(this.tables, f);
  }

  /** Takes a message of the service in. */
  receive(m: Message): void {
    if (m.type === 'snapshot') {
      this.market.reset(m);
      for (const s of this.market.quotes.keys()) this.changed.add(s);
      for (const f of this.snapshots) f();
    } else if (m.type === 'delta') {
      if (!this.market.advance(m)) {
        this.stream.resync();
        return;
      }
      const caughtUp = this.pulse.get()?.caught_up === true;
      for (const q of m.quotes) {
        this.changed.add(q.symbol);
        if (caughtUp) this.clock.arrived(q.received);
        for (const f of this.updates) f(q);
      }
      for (const s of m.removed ?? []) this.changed.add(s);
    } else if (m.type === 'pulse') {
      this.pulse.set(m);
    }
    for (const f of this.messages) f(m);
    this.draw();
  }

  /** Asks for a frame in which the symbols, or what has changed anyway, are drawn. */
  draw(symbols: Iterable<string> = []): void {
    for (const s of symbols) this.changed.add(s);
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      for (const f of this.frames) f(this.changed);
      if (this.changed.size > 0) this.clock.drawn();
      this.changed.clear();
    });
  }

  second(): void {
    const now = this.clock.serverNow();
    for (const f of this.seconds) f(now);
  }

  /** Shows a symbol's chart. */
  open(symbol: string): void {
    this.router.go({ view: 'watch', symbol });
  }
}

function follow<F>(set: Set<F>, f: F): () => void {
  set.add(f);
  return () => set.delete(f);
}
