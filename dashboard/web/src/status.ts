import { byId, setText } from './dom';
import type { StreamState } from './stream';
import { age, clock } from './text';
import type { Pulse } from './wire';

const staleAfter = 30_000;

type Word = 'connecting' | 'loading' | 'live' | 'stale' | 'waiting' | 'interrupted' | 'reconnecting' | 'offline';

/** How the page stands with the service, and the service with Kafka: the lamp, the notice, the mark of simulated data, and what is shown before the first tick. */
export class StatusView {
  private stream: StreamState = { kind: 'connecting' };
  private last: Pulse | null = null;
  private heard = 0; // when the last pulse came
  private count = 0;
  private everOpen = false;

  constructor(retry: () => void) {
    byId('retry').addEventListener('click', retry);
  }

  connection(s: StreamState): void {
    this.stream = s;
    if (s.kind === 'open') this.everOpen = true;
  }

  pulse(p: Pulse): void {
    this.last = p;
    this.heard = Date.now();
  }

  symbols(n: number): void {
    this.count = n;
  }

  tick(): void {
    const now = new Date();
    setText(byId('clock'), clock.format(now));
    byId('clock').setAttribute('datetime', now.toISOString());
    this.show();
  }

  show(): void {
    const [word, text, notice] = this.word();
    document.body.dataset['state'] = word;
    // A countdown is not for the live region to read out each second.
    byId('state').setAttribute('aria-live', word === 'reconnecting' || word === 'stale' ? 'off' : 'polite');
    setText(byId('state-text'), text);
    byId('state').title = this.stream.kind === 'open' ? `Connected by ${this.stream.transport}` : '';
    const box = byId('notice');
    box.hidden = notice === '';
    setText(byId('notice-text'), notice);
    byId('retry').hidden = word !== 'reconnecting';
    this.showSimulated();
    this.showWaiting(word);
  }

  private word(): [Word, string, string] {
    const s = this.stream;
    const p = this.last;
    const asOf = this.count > 0 && p ? ` Prices are as of ${clock.format(this.heard)}.` : '';
    switch (s.kind) {
      case 'offline':
        return ['offline', 'Offline', `This device has no network.${asOf}`];
      case 'waiting': {
        const left = Math.max(1, Math.ceil((s.until - Date.now()) / 1000));
        return ['reconnecting', `Reconnecting in ${left} s`, `The dashboard does not answer; it is tried again by itself.${asOf}`];
      }
      case 'connecting':
        return this.everOpen ? ['reconnecting', 'Reconnecting', `The connection to the dashboard was lost.${asOf}`] : ['connecting', 'Connecting', ''];
    }
    if (!p) return ['connecting', 'Connecting', ''];
    if (!p.connected && this.count > 0) return ['interrupted', 'Feed interrupted', `${p.problem ?? 'Kafka can’t be read.'} Prices are as of ${clock.format(p.last_update || this.heard)}.`];
    if (this.count === 0) return ['waiting', 'No data yet', ''];
    if (!p.caught_up) return ['loading', `Catching up · ${p.behind.toLocaleString('en')} to go`, ''];
    if (!p.last_update) return ['stale', 'No trade yet', ''];
    const quiet = p.now - p.last_update + (Date.now() - this.heard);
    if (quiet > staleAfter) return ['stale', `No update for ${age(quiet)}`, ''];
    return ['live', 'Live', ''];
  }

  private showSimulated(): void {
    const p = this.last;
    const some = (p?.simulated_symbols ?? 0) > 0;
    byId('simulated').hidden = !some;
    if (!p || !some) return;
    const all = p.simulated_symbols >= p.symbols;
    setText(byId('simulated-text'), all
      ? 'Made-up prices, no real market.'
      : `${p.simulated_symbols} of ${p.symbols} symbols have made-up prices: those marked SIM.`);
    document.body.dataset['simulated'] = all ? 'all' : 'some';
  }

  private showWaiting(word: Word): void {
    const empty = this.count === 0;
    document.body.classList.toggle('empty', empty);
    byId('waiting').hidden = !empty;
    if (!empty) return;
    const p = this.last;
    const open = this.stream.kind === 'open';
    const done = (id: string, yes: boolean) => { byId(id).dataset['done'] = yes ? 'yes' : 'no'; };
    done('step-dashboard', open);
    done('step-kafka', open && p?.connected === true);
    done('step-tick', false);
    setText(byId('step-kafka-text'), p?.problem && word !== 'connecting' ? p.problem : 'The topic of windows is being read.');
  }
}
