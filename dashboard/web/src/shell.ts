import type { App } from './app';
import { byId, element, setText, svgElement } from './dom';
import { askForToken } from './login';
import { popup } from './popup';
import { Tape } from './tape';
import { densities, motions, palettes, themes, zones, type Settings } from './settings';
import { statusOf } from './status';
import { clockText, zoneName, zonedText } from './text';
import { views, type Mounted, type View } from './view';
import type { Pulse } from './wire';

const narrow = matchMedia('(max-width: 720px)');

/** The frame around the views: navigation, how things are, settings, the tape and the pulse. */
export class Shell {
  private readonly places = new Map<string, { host: HTMLElement; mounted: Promise<Mounted | null>; link: HTMLAnchorElement }>();
  private readonly tape = new Tape(byId('tape'));
  private readonly rates: number[] = [];
  private shown = '';
  private everOpen = false;
  private heard = 0;

  constructor(private readonly app: App) {
    this.navigation();
    this.menu();
    app.link.follow((s) => {
      if (s.kind === 'open') this.everOpen = true;
      this.judge();
    });
    app.pulse.follow((p) => {
      if (!p) return;
      this.heard = Date.now();
      this.judge();
      this.beat(p);
    });
    app.onSnapshot(() => {
      this.judge();
      this.tape.fill(app.market.quotes.values());
    });
    app.onUpdate((u) => {
      const q = app.market.quotes.get(u.symbol);
      if (q && app.settings.get().tape) this.tape.print(q);
    });
    app.onSecond(() => {
      this.judge();
      this.tick();
    });
    byId('retry').addEventListener('click', () => (app.link.get().kind === 'token' ? void askForToken(app) : app.stream.connect()));
    byId('zone').addEventListener('click', () => {
      const now = zones.indexOf(app.settings.get().zone);
      app.settings.set({ zone: zones[(now + 1) % zones.length]! });
    });
    app.settings.all.follow((s) => {
      byId('tape-box').hidden = !s.tape;
      this.tick();
    });
    app.router.route.follow(() => void this.go());
  }

  private navigation(): void {
    const nav = byId('nav');
    for (const v of views) {
      const link = element('a');
      link.href = this.app.router.home(v.id);
      const icon = svgElement('svg', { viewBox: '0 0 20 20', 'aria-hidden': 'true' });
      icon.append(svgElement('path', { d: v.icon }));
      link.append(icon, element('span', '', v.title));
      link.addEventListener('click', (e) => {
        // On a phone the way back from a chart to the list.
        if (this.shown !== v.id || !this.app.router.get().symbol || !narrow.matches) return;
        e.preventDefault();
        this.app.router.go({ symbol: '' });
      });
      nav.append(link);
      const host = element('div', 'view');
      host.id = `view-${v.id}`;
      host.hidden = true;
      byId('main').append(host);
      this.places.set(v.id, { host, mounted: Promise.resolve(null), link });
    }
  }

  /** Shows the view that the address names. */
  private async go(): Promise<void> {
    const route = this.app.router.get();
    const view = views.find((v) => v.id === route.view) ?? views[0]!;
    for (const [id, p] of this.places) {
      p.link.href = id === view.id ? this.app.router.href({}) : this.app.router.home(id);
      if (id === view.id) p.link.setAttribute('aria-current', 'page');
      else p.link.removeAttribute('aria-current');
    }
    if (this.shown === view.id) return;
    const before = this.places.get(this.shown);
    this.shown = view.id;
    document.body.dataset['view'] = view.id;
    const place = this.places.get(view.id)!;
    if (before) {
      before.host.hidden = true;
      (await before.mounted)?.hide();
    }
    if (this.shown !== view.id) return;
    place.host.hidden = false;
    if (!(await place.mounted)) place.mounted = this.build(view, place.host);
    const mounted = await place.mounted;
    if (this.shown === view.id) mounted?.show();
    // Asked for and left again while it was loading.
    else place.host.hidden = true;
  }

  private async build(view: View, host: HTMLElement): Promise<Mounted | null> {
    host.replaceChildren();
    try {
      return (await view.load()).mount(host, this.app);
    } catch (e) {
      console.error(e);
      const box = element('div', 'broken');
      const again = element('button', '', 'Load the page again');
      again.type = 'button';
      again.addEventListener('click', () => location.reload());
      box.append(element('h2', '', `${view.title} can’t be shown`), element('p', '', 'Its part of the page did not load.'), again);
      host.append(box);
      return null;
    }
  }

  private menu(): void {
    const panel = element('form', 'settings');
    panel.id = 'settings';
    panel.setAttribute('aria-label', 'Settings');
    panel.addEventListener('submit', (e) => e.preventDefault());
    const choice = <K extends keyof Settings>(name: K, title: string, options: readonly Settings[K][], labels: string[]) => {
      const set = element('fieldset', 'choice');
      set.append(element('legend', '', title));
      const row = element('div', 'segments');
      options.forEach((value, i) => {
        const label = element('label');
        const input = element('input');
        input.type = 'radio';
        input.name = name;
        input.value = String(value);
        input.addEventListener('change', () => this.app.settings.set({ [name]: value }));
        this.app.settings.all.follow((s) => {
          input.checked = s[name] === value;
        });
        label.append(input, element('span', '', labels[i]));
        row.append(label);
      });
      set.append(row);
      panel.append(set);
    };
    choice('theme', 'Theme', themes, ['System', 'Dark', 'Light', 'High contrast']);
    choice('palette', 'Up and down', palettes, ['Green, red', 'Blue, orange']);
    choice('zone', 'Times', zones, ['Exchange', 'Local', 'UTC']);
    choice('density', 'Rows', densities, ['Roomy', 'Compact']);
    choice('motion', 'Motion', motions, ['System', 'Reduced']);
    choice('tape', 'Ticker tape', [true, false], ['Shown', 'Hidden']);
    document.body.append(panel);
    popup(byId('settings-button'), panel);
  }

  private judge(): void {
    const status = statusOf({
      link: this.app.link.get(), everOpen: this.everOpen, pulse: this.app.pulse.get(), heard: this.heard, local: Date.now(), market: this.app.market, exchanges: this.app.exchanges,
    });
    const before = this.app.status.get();
    if (before.word !== status.word || before.text !== status.text || before.notice !== status.notice) this.app.status.set(status);
    document.body.dataset['state'] = status.word;
    // A countdown is not for the live region to read out each second.
    byId('state').setAttribute('aria-live', /\d/.test(status.text) ? 'off' : 'polite');
    setText(byId('state-text'), status.text);
    const link = this.app.link.get();
    byId('state').title = link.kind === 'open' ? `Connected by ${link.transport}` : '';
    byId('notice').hidden = status.notice === '';
    setText(byId('notice-text'), status.notice);
    byId('retry').hidden = status.word !== 'reconnecting' && status.word !== 'token';
    setText(byId('retry'), status.word === 'token' ? 'Enter it' : 'Try now');
    this.simulated();
  }

  /** Where data are simulated the page says so, always. */
  private simulated(): void {
    const p = this.app.pulse.get();
    const some = (p?.simulated_symbols ?? 0) > 0;
    byId('simulated').hidden = !some;
    if (!p || !some) return;
    const all = p.simulated_symbols >= p.symbols;
    setText(byId('simulated-text'), all ? 'Made-up prices, no real market' : `${p.simulated_symbols} of ${p.symbols} symbols, marked SIM`);
    document.body.dataset['simulated'] = all ? 'all' : 'some';
  }

  private tick(): void {
    const now = this.app.clock.serverNow();
    const clock = byId('clock');
    const { zone } = this.app.settings.get();
    // The clock of the exchange whose symbol is looked at; where there is none, this device's.
    const exchange = zone === 'exchange' ? this.app.market.quotes.get(this.app.symbol.get())?.info.exchange : '';
    setText(clock, exchange ? zonedText(now, 'second', exchange) : clockText(now));
    clock.setAttribute('datetime', new Date(now).toISOString());
    setText(byId('clock-zone'), exchange || zone !== 'exchange' ? zoneName(now, exchange || '') : 'local');
    byId('zone').title = `Times are ${zone === 'exchange' ? 'by each exchange’s clock' : zone === 'local' ? 'by this device’s clock' : 'UTC'}. Press for another.`;
  }

  /** Writes the pulse at the foot of the page. */
  private beat(p: Pulse): void {
    this.rates.push(p.ticks_per_second);
    if (this.rates.length > 60) this.rates.shift();
    const most = Math.max(...this.rates, 1);
    const first = 60 - this.rates.length;
    document.querySelector('#pulse-graph polyline')!.setAttribute('points', this.rates.map((r, i) => `${((first + i) * 120) / 59},${(21 - (r / most) * 20).toFixed(1)}`).join(' '));
    const rate = p.ticks_per_second;
    setText(byId('pulse-rate'), rate < 10 ? rate.toFixed(1) : Math.round(rate).toLocaleString('en'));
    setText(byId('pulse-latency'), p.latency ? duration(p.latency.p50) : '–');
    setText(byId('pulse-latency-99'), p.latency ? `p99 ${duration(p.latency.p99)}` : '');
    setText(byId('pulse-behind'), p.behind.toLocaleString('en'));
    setText(byId('pulse-symbols'), p.symbols.toLocaleString('en'));
    const screen = this.app.clock.median();
    setText(byId('pulse-screen'), screen === null ? '–' : duration(screen));
  }
}

/** A duration (ms) in three digits or so. */
export function duration(ms: number): string {
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(ms < 10_000 ? 1 : 0)} s`;
}
