import './style.css';

import type { App } from '../app';
import { element, setText } from '../dom';
import { clockText, age } from '../text';
import type { Mounted } from '../view';
import { Flow } from './flow';
import { count, delay, unknown } from './format';
import { FunctionTable } from './functions';
import { Delays, type Summary } from './histogram';
import { LatencyPanel, type Stretch } from './latency-panel';
import { LetterList } from './letters';
import { Rates } from './rates';
import type { Part, PipelineMessage, SealFigures, Stage } from './wire';

/** Older figures are said to be old, ms. */
const oldAfter = 5_000;

const stages: [name: string, title: string, about: string][] = [
  ['source', 'Source', 'trade → received'],
  ['kafka', 'Kafka', 'received → written to ticks'],
  ['window', 'Window', '→ counted and published'],
  ['dashboard', 'Dashboard', '→ read by the dashboard'],
];

/** The pipeline at work: its picture with live figures, delays, lags, audits, dead letters and health. */
export function mount(host: HTMLElement, app: App): Mounted {
  const view = new PipelineView(host, app);
  return { show: () => view.show(), hide: () => view.hide() };
}

class PipelineView {
  private readonly flow = new Flow();
  private readonly latency = new LatencyPanel();
  private readonly rates = new Rates();
  private readonly functions = new FunctionTable();
  private readonly letters = new LetterList();
  private readonly seal = new Facts('Seals and audits', 'seal-title');
  private readonly parts = new Health();
  private readonly note = element('p', 'pipeline-note');
  private readonly hero: Record<'p50' | 'p95' | 'p99', HTMLElement>;
  private readonly heroAbout = element('p', 'hero-about');
  private message: PipelineMessage | null = null;
  private came = 0;
  private screen = new Delays();
  private page = new Delays();
  private wire = new Delays();
  private shown = false;

  constructor(host: HTMLElement, private readonly app: App) {
    const root = element('div', 'pipeline');
    const title = element('h2', 'hidden', 'Pipeline');
    const flow = element('section', 'flow-card card');
    const head = element('header', 'card-head');
    const h = element('h3', '', 'From the trade to this screen');
    h.id = 'flow-title';
    flow.setAttribute('aria-labelledby', h.id);
    head.append(h, this.note);
    const hero = element('div', 'hero');
    const list = element('dl');
    const figure = (name: string) => {
      const box = element('div');
      const value = element('dd', '', unknown);
      box.append(element('dt', '', name), value);
      list.append(box);
      return value;
    };
    this.hero = { p50: figure('p50'), p95: figure('p95'), p99: figure('p99') };
    hero.append(element('b', 'hero-title', 'Tick to screen'), list, this.heroAbout);
    this.flow.box.append(hero);
    flow.append(head, this.flow.box);
    root.append(title, flow, this.latency.box, this.rates.box, this.seal.box, this.functions.box, this.letters.box, this.parts.box);
    host.append(root);

    app.onMessage((m) => {
      if (m.type === 'pipeline') this.take(m as PipelineMessage);
      if (m.type === 'pulse' && app.clock.within() !== null && document.visibilityState === 'visible') this.wire.add(Date.now(), app.clock.serverNow() - m.now);
    });
    app.clock.onDelay((whole, page) => {
      this.screen.add(Date.now(), whole);
      this.page.add(Date.now(), page);
    });
    app.onSecond(() => {
      if (this.shown) this.draw();
    });
    this.tables(head);
  }

  show(): void {
    this.shown = true;
    this.app.stream.followPipeline(true);
    this.draw();
  }

  hide(): void {
    this.shown = false;
    this.app.stream.followPipeline(false);
  }

  private take(m: PipelineMessage): void {
    this.message = m;
    this.came = Date.now();
    const bounds = m.latency?.bounds;
    // The service's buckets and the page's are the same, or they could not be laid over one axis.
    if (bounds && bounds.join() !== this.screen.bounds.join()) [this.screen, this.page, this.wire] = [new Delays(bounds), new Delays(bounds), new Delays(bounds)];
    const figures = [{ name: 'published', value: m.ticks?.per_second }, ...(m.functions ?? []).map((f) => ({ name: f.name, value: f.per_second }))];
    this.rates.add(m.now, figures);
    if (this.shown) this.draw();
  }

  private draw(): void {
    const now = Date.now();
    const link = this.app.link.get();
    const open = link.kind === 'open';
    const old = now - this.came > oldAfter;
    // What is too old to be true is not shown as if it were.
    const m = old ? null : this.message;
    setText(this.note, !this.message ? (open ? 'Waiting for the first figures.' : 'Not connected.') : old ? `The last figures came ${age(now - this.came)} ago.` : '');
    const pulse = open ? this.app.pulse.get() : null;
    const screen = this.screen.summary(now);
    const sources = new Set<string>();
    for (const q of this.app.market.quotes.values()) sources.add(q.info.source);
    this.flow.show(m, {
      source: sourceText(sources), simulated: sources.has('simulated'), symbols: this.app.market.quotes.size,
      clients: pulse?.clients ?? null, behind: pulse?.behind ?? null, transport: open ? link.transport : '', screen,
    });
    for (const p of ['p50', 'p95', 'p99'] as const) setText(this.hero[p], delay(screen?.[p]));
    const within = this.app.clock.within();
    setText(this.heroAbout, !screen ? 'No tick was painted in the last minute.' : `${count(screen.count)} ticks painted in the last minute. Clocks are compared to within ${within === null ? 'an unknown time' : delay(within)}.`);
    this.showLatency(m, now, screen);
    this.functions.show(m?.functions);
    this.letters.show(m?.dead_letters);
    this.seal.show(sealFacts(m?.seal), sealSentence(m?.seal));
    this.parts.show(m?.parts);
  }

  private showLatency(m: PipelineMessage | null, now: number, screen: Summary | null): void {
    this.latency.show(this.stretches(m, now, screen), this.screen.bounds, m?.latency ? '' : 'The stretches before this browser are not known.');
  }

  private stretches(m: PipelineMessage | null, now: number, screen: Summary | null): Stretch[] {
    const own = (name: string, about: string, d: Delays, s = d.summary(now)): Stretch => ({ name, about, counts: s ? d.counts(now) : null, p50: s?.p50, p95: s?.p95, p99: s?.p99, count: s?.count });
    const of = (name: string, title: string, about: string): Stretch => {
      const s: Stage | undefined = m?.latency?.stages.find((x) => x.name === name);
      const known = s !== undefined && s.count > 0;
      return { name: title, about, counts: known ? s.counts : null, p50: known ? s.p50 : undefined, p95: known ? s.p95 : undefined, p99: known ? s.p99 : undefined, count: s?.count };
    };
    return [
      ...stages.map(([name, title, about]) => of(name, title, about)),
      own('Network', '→ this browser, by its pulse', this.wire),
      own('Page', '→ painted on the screen', this.page),
      { ...own('Tick to screen', 'received → painted', this.screen, screen), whole: true },
    ];
  }

  private tables(flowHead: HTMLElement): void {
    const app = this.app;
    app.offerTable(flowHead, {
      title: () => 'Parts of the pipeline',
      columns: () => ['Part', 'Kind', 'State', 'Since', 'Reason'],
      rows: () => (this.message?.parts ?? []).map((p) => [p.name, p.kind, p.state, p.since ? new Date(p.since).toISOString() : '', p.reason ?? '']),
    });
    app.offerTable(this.latency.head, {
      title: () => 'Latency',
      columns: () => ['Up to ms', ...this.stretches(this.message, Date.now(), this.screen.summary(Date.now())).map((s) => s.name)],
      rows: () => {
        const now = Date.now();
        const list = this.stretches(this.message, now, this.screen.summary(now));
        const bounds = [...this.screen.bounds.map(String), 'more'];
        const figures = (['p50', 'p95', 'p99'] as const).map((p) => [p, ...list.map((s) => (s[p] === undefined ? '' : s[p]!.toFixed(1)))]);
        return [...figures, ...bounds.map((b, i) => [b, ...list.map((s) => String(s.counts?.[i] ?? ''))])];
      },
    });
    app.offerTable(this.rates.head, { title: () => 'Ticks per second', columns: () => this.rates.columns(), rows: () => this.rates.rows() });
    app.offerTable(this.functions.head, { title: () => 'Lag by partition', columns: () => this.functions.lagColumns(), rows: () => this.functions.lagRows() });
    app.offerTable(this.letters.head, { title: () => 'Dead letters', columns: () => this.letters.columns(), rows: () => this.letters.rows() });
  }
}

function sourceText(sources: ReadonlySet<string>): string {
  const list = [
    sources.has('yahoo') ? 'Yahoo, polled' : '',
    sources.has('yahoo-stream') ? 'Yahoo, streamed' : '',
    sources.has('simulated') ? 'simulated market' : '',
  ].filter(Boolean);
  return list.length > 0 ? list.join(' · ') : 'no tick yet';
}

function sealFacts(s: SealFigures | undefined): [string, string][] {
  return [
    ['Minutes sealed', count(s?.windows)],
    ['Sealed again', count(s?.again)],
    ['Candles written', count(s?.candles)],
    ['Live windows audited', count(s?.audited)],
    ['Differences found', count(s?.differences)],
    ['Trades recognised twice', count(s?.repeats)],
    ['Behind', s?.behind_seconds === undefined ? unknown : delay(s.behind_seconds * 1000)],
  ];
}

function sealSentence(s: SealFigures | undefined): { text: string; mood: 'good' | 'warning' | '' } {
  if (s?.audited === undefined || s.differences === undefined) return { text: 'What seal has found is not known.', mood: '' };
  if (s.audited === 0) return { text: 'Nothing has been audited yet.', mood: '' };
  if (s.differences === 0) return { text: 'Every live window agreed with the stored trades.', mood: 'good' };
  return { text: `${count(s.differences)} of ${count(s.audited)} live windows were corrected from the stored trades.`, mood: 'warning' };
}

/** Figures by name, with a sentence above them. */
class Facts {
  readonly box = element('section', 'sealing card');
  private readonly list = element('dl');
  private readonly sentence = element('p', 'sealing-sentence');
  private readonly values = new Map<string, HTMLElement>();

  constructor(title: string, id: string) {
    const head = element('header', 'card-head');
    const h = element('h3', '', title);
    h.id = id;
    head.append(h);
    this.box.setAttribute('aria-labelledby', id);
    this.box.append(head, this.sentence, this.list);
  }

  show(facts: readonly [string, string][], sentence: { text: string; mood: string }): void {
    setText(this.sentence, sentence.text);
    this.sentence.dataset['mood'] = sentence.mood;
    for (const [name, value] of facts) {
      let v = this.values.get(name);
      if (!v) {
        v = element('dd');
        this.list.append(element('dt', '', name), v);
        this.values.set(name, v);
      }
      setText(v, value);
    }
  }
}

const kinds: [Part['kind'], string][] = [['server', 'Servers'], ['connector', 'Connectors'], ['function', 'Functions'], ['service', 'Services']];
const words = { up: 'Up', degraded: 'Degraded', down: 'Down', unknown: 'Not known' };

/** The health of each part, by kind. */
class Health {
  readonly box = element('section', 'health card');
  private readonly body = element('div', 'health-body');
  private readonly about = element('span', 'card-about');
  private shape = '';

  constructor() {
    const head = element('header', 'card-head');
    const h = element('h3', '', 'Health');
    h.id = 'health-title';
    head.append(h, this.about);
    this.box.setAttribute('aria-labelledby', h.id);
    this.box.append(head, this.body);
  }

  show(parts: readonly Part[] | undefined): void {
    const shape = JSON.stringify(parts ?? null);
    if (shape === this.shape) return;
    this.shape = shape;
    const up = (parts ?? []).filter((p) => p.state === 'up').length;
    setText(this.about, parts ? `${up} of ${parts.length} up` : 'not known');
    this.body.replaceChildren();
    for (const [kind, title] of kinds) {
      const list = (parts ?? []).filter((p) => p.kind === kind);
      if (list.length === 0) continue;
      const rows = element('ul');
      rows.setAttribute('role', 'list');
      for (const p of list) {
        const row = element('li', 'health-part');
        row.dataset['state'] = p.state;
        const since = element('span', 'health-since', p.since ? `since ${clockText(p.since)}` : '');
        row.append(element('b', '', p.name), element('span', 'health-state', words[p.state] ?? p.state), since);
        if (p.reason) row.append(element('span', 'health-reason', p.reason));
        rows.append(row);
      }
      const block = element('div', 'health-kind');
      block.append(element('h4', '', title), rows);
      this.body.append(block);
    }
  }
}
