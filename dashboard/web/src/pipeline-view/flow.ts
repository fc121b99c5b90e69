import { element, setText, svgElement } from '../dom';
import { delay, count, rate, unknown } from './format';
import type { FunctionFigures, Part, PipelineMessage } from './wire';

/** What the picture is told beside the service's figures. */
export interface Surroundings {
  /** Where ticks come from: Yahoo, a simulated market, both; empty where none has come. */
  source: string;
  simulated: boolean;
  symbols: number;
  clients: number | null;
  /** Ticks behind the end of topic windows. */
  behind: number | null;
  /** Connected by; empty where the page is not. */
  transport: string;
  /** From a tick's reception to this screen, ms. */
  screen: { p50: number; p99: number } | null;
}

type State = Part['state'];

interface Figures {
  figure: string;
  unit: string;
  facts: string;
  state: State;
  reason: string;
  /** Something a person should see. */
  alarm?: boolean;
}

interface Place {
  id: string;
  kind: string;
  title: string;
}

const places: Place[] = [
  { id: 'fetch', kind: 'Source', title: 'fetch' },
  { id: 'ticks', kind: 'Kafka topic', title: 'ticks' },
  { id: 'connector', kind: 'Trigger', title: 'Kafka connector' },
  { id: 'process', kind: 'Function', title: 'process' },
  { id: 'windows', kind: 'Kafka topic', title: 'windows' },
  { id: 'dashboard', kind: 'Service', title: 'dashboard' },
  { id: 'browser', kind: 'You', title: 'this browser' },
  { id: 'dead', kind: 'Kafka topic', title: 'ticks.dead' },
  { id: 'persist', kind: 'Function', title: 'persist' },
  { id: 'cassandra', kind: 'Database', title: 'Cassandra' },
  { id: 'others', kind: 'Functions', title: 'your own' },
  { id: 'seal', kind: 'Function', title: 'seal' },
];

/** From, to, and what runs along: which rate moves it. */
const edges: { from: string; to: string; what: 'ticks' | 'process' | 'persist' | 'others' | 'updates' | 'seal' | 'history' | 'dead' }[] = [
  { from: 'fetch', to: 'ticks', what: 'ticks' },
  { from: 'ticks', to: 'connector', what: 'ticks' },
  { from: 'connector', to: 'process', what: 'process' },
  { from: 'connector', to: 'persist', what: 'persist' },
  { from: 'connector', to: 'others', what: 'others' },
  { from: 'connector', to: 'dead', what: 'dead' },
  { from: 'process', to: 'windows', what: 'process' },
  { from: 'process', to: 'cassandra', what: 'process' },
  { from: 'persist', to: 'cassandra', what: 'persist' },
  { from: 'seal', to: 'cassandra', what: 'seal' },
  { from: 'cassandra', to: 'dashboard', what: 'history' },
  { from: 'windows', to: 'dashboard', what: 'updates' },
  { from: 'dashboard', to: 'browser', what: 'updates' },
];

/** The picture of the pipeline: every part as a card with its figures, and what flows between them. */
export class Flow {
  readonly box = element('div', 'flow');
  private readonly list = element('ul', 'flow-parts');
  private readonly lines: SVGSVGElement;
  private readonly cards = new Map<string, { card: HTMLElement; figure: HTMLElement; unit: HTMLElement; facts: HTMLElement; state: HTMLElement; title: HTMLElement }>();
  private readonly paths = new Map<string, { line: SVGPathElement; stream: SVGPathElement }>();
  private readonly seen = new Map<string, number>(); // what last moved along, by edge
  private shape = '';

  constructor() {
    this.lines = svgElement('svg', { class: 'flow-lines', 'aria-hidden': 'true' });
    this.box.append(this.lines, this.list);
    // Safari takes the role from a list without bullets.
    this.list.setAttribute('role', 'list');
    for (const p of places) this.add(p);
    for (const { from, to, what } of edges) {
      const line = svgElement('path', { class: 'flow-line', 'data-what': what });
      const stream = svgElement('path', { class: 'flow-stream', 'data-what': what });
      this.lines.append(line, stream);
      this.paths.set(`${from} ${to}`, { line, stream });
    }
    new ResizeObserver(() => this.draw()).observe(this.box);
  }

  private add(p: Place): void {
    const card = element('li', 'part');
    card.dataset['id'] = p.id;
    const kind = element('span', 'part-kind', p.kind);
    const title = element('b', 'part-title', p.title);
    const line = element('span', 'part-figure');
    const figure = element('b', '', unknown);
    const unit = element('small');
    line.append(figure, unit);
    const facts = element('span', 'part-facts');
    const state = element('span', 'part-state');
    card.append(kind, state, title, line, facts);
    this.list.append(card);
    this.cards.set(p.id, { card, figure, unit, facts, state, title });
  }

  show(m: PipelineMessage | null, s: Surroundings): void {
    const part = (name: string) => m?.parts?.find((p) => p.name === name);
    const f = (name: string) => m?.functions?.find((x) => x.name === name);
    const others = (m?.functions ?? []).filter((x) => x.name !== 'process' && x.name !== 'persist');
    const whole = m?.latency?.stages.find((x) => x.name === 'total');
    const partitions = f('process')?.partitions?.length ?? f('persist')?.partitions?.length;

    this.set('fetch', {
      figure: s.symbols > 0 ? count(s.symbols) : unknown, unit: 'symbols', facts: s.source, ...stateOf(part('fetch')),
    });
    this.set('ticks', {
      figure: rate(m?.ticks?.per_second), unit: 'ticks/s',
      facts: facts([partitions === undefined ? '' : `${partitions} partitions`, m?.ticks?.total === undefined ? '' : `${short(m.ticks.total)} in all`]), ...stateOf(part('kafka')),
    });
    const batches = f('process')?.batches;
    const stopped = (m?.functions ?? []).reduce((n, x) => n + (x.stopped?.length ?? 0), 0);
    this.set('connector', {
      figure: batches?.mean === undefined ? unknown : rate(batches.mean), unit: 'ticks a batch',
      facts: stopped > 0 ? `${stopped} partitions stopped` : facts([sum(m, (x) => x.retries, 'retries')]), ...stateOf(part('kafka-connector')), alarm: stopped > 0,
    });
    for (const name of ['process', 'persist']) this.set(name, { ...functionFigures(f(name)), ...stateOf(part(name)) });
    this.card('others').hidden = others.length === 0;
    if (others[0]) {
      setText(this.cards.get('others')!.title, others.length === 1 ? others[0].name : `${others.length} of your own`);
      this.set('others', { ...functionFigures(others.length === 1 ? others[0] : { name: '', topic: '', ...lagSum(others) }), ...stateOf(part(others[0].name)) });
    }
    this.set('windows', { figure: s.behind === null ? unknown : count(s.behind), unit: 'updates to read', facts: 'a state each minute', ...stateOf(part('kafka')) });
    this.set('dashboard', {
      figure: s.clients === null ? unknown : count(s.clients), unit: s.clients === 1 ? 'browser' : 'browsers', facts: whole?.p99 === undefined ? '' : `p99 ${delay(whole.p99)} to here`, ...stateOf(part('dashboard')),
    });
    this.set('browser', {
      figure: s.screen ? delay(s.screen.p50) : unknown, unit: 'p50', facts: facts([s.screen ? `p99 ${delay(s.screen.p99)}` : '', s.transport || 'not connected']), state: s.transport ? 'up' : 'down', reason: '',
    });
    const dead = m?.dead_letters?.total;
    this.set('dead', {
      figure: count(dead), unit: dead === 1 ? 'dead letter' : 'dead letters', facts: dead === 0 ? 'every record was taken' : dead === undefined ? '' : 'reasons are below', ...stateOf(part('kafka')), alarm: (dead ?? 0) > 0,
    });
    const seal = m?.seal;
    this.set('cassandra', { figure: count(seal?.candles), unit: 'candles', facts: 'windows, ticks, candles', ...stateOf(part('cassandra')) });
    this.set('seal', {
      figure: count(seal?.windows), unit: 'minutes', facts: seal?.differences === undefined ? '' : seal.differences === 0 ? 'audit: no difference' : `audit: ${count(seal.differences)} corrected`, ...stateOf(part('seal')), alarm: (seal?.differences ?? 0) > 0,
    });

    const speeds = {
      ticks: m?.ticks?.per_second, process: f('process')?.per_second, persist: f('persist')?.per_second, others: others.length > 0 ? (lagSum(others).per_second ?? 0) : undefined,
      updates: s.transport ? f('process')?.per_second ?? m?.ticks?.per_second : 0, history: 0,
      seal: this.moved('seal', seal?.windows), dead: this.moved('dead', dead),
    };
    for (const { from, to, what } of edges) this.run(`${from} ${to}`, speeds[what], what === 'others' && others.length === 0);
    // Where a card came or went the others may have moved.
    const shape = `${others.length}`;
    if (shape !== this.shape) {
      this.shape = shape;
      this.draw();
    }
  }

  /** A speed for what is told as a total: it moves for a while after it grew. */
  private moved(name: string, total: number | undefined): number {
    const before = this.seen.get(name);
    if (total === undefined) return 0;
    this.seen.set(name, total);
    return before !== undefined && total > before ? 1 : 0;
  }

  private card(id: string): HTMLElement {
    return this.cards.get(id)!.card;
  }

  private set(id: string, f: Figures): void {
    const c = this.cards.get(id)!;
    setText(c.figure, f.figure);
    setText(c.unit, f.figure === unknown ? 'not known' : f.unit);
    setText(c.facts, f.state === 'up' || f.reason === '' ? f.facts : f.reason);
    setText(c.state, { up: 'up', degraded: 'degraded', down: 'down', unknown: 'not known' }[f.state]);
    c.card.dataset['state'] = f.state;
    c.card.dataset['alarm'] = f.alarm ? 'yes' : '';
    c.card.title = f.reason ?? '';
  }

  /** How fast the stream of an edge moves. */
  private run(edge: string, speed: number | undefined, hidden: boolean): void {
    const { line, stream } = this.paths.get(edge)!;
    line.toggleAttribute('data-hidden', hidden);
    const moving = !hidden && speed !== undefined && speed > 0;
    stream.toggleAttribute('data-moving', moving);
    if (!moving) return;
    // A hundred times as many are twice as fast; whole steps, for a change starts the motion anew.
    const seconds = (2.4 / 2 ** (Math.min(Math.round(Math.log10(speed + 1) * 2) / 2, 6) / 2)).toFixed(2);
    if (stream.style.animationDuration !== `${seconds}s`) stream.style.animationDuration = `${seconds}s`;
  }

  /** Draws the lines between the cards where these lie. */
  private draw(): void {
    const area = this.box.getBoundingClientRect();
    if (area.width === 0) return;
    this.lines.setAttribute('viewBox', `0 0 ${area.width} ${area.height}`);
    for (const { from, to } of edges) {
      const { line, stream } = this.paths.get(`${from} ${to}`)!;
      const [a, b] = [this.card(from).getBoundingClientRect(), this.card(to).getBoundingClientRect()];
      const d = a.width === 0 || b.width === 0 ? '' : between(a, b, area);
      line.setAttribute('d', d);
      stream.setAttribute('d', d);
    }
  }
}

/** A curve from one card to another: out of the side, where the other lies beside it, else from below or above. */
function between(a: DOMRect, b: DOMRect, area: DOMRect): string {
  const [ax, ay, bx, by] = [a.left - area.left, a.top - area.top, b.left - area.left, b.top - area.top];
  const p = (x: number, y: number) => `${x.toFixed(1)} ${y.toFixed(1)}`;
  if (bx >= ax + a.width - 1 || ax >= bx + b.width - 1) {
    const right = bx > ax;
    const [x1, x2] = right ? [ax + a.width, bx] : [ax, bx + b.width];
    const [y1, y2] = [ay + a.height / 2, by + b.height / 2];
    const bend = (x2 - x1) / 2;
    return `M${p(x1, y1)}C${p(x1 + bend, y1)} ${p(x2 - bend, y2)} ${p(x2, y2)}`;
  }
  const down = by > ay;
  const [y1, y2] = down ? [ay + a.height, by] : [ay, by + b.height];
  const [x1, x2] = [ax + a.width / 2, bx + b.width / 2];
  const bend = (y2 - y1) / 2;
  return `M${p(x1, y1)}C${p(x1, y1 + bend)} ${p(x2, y2 - bend)} ${p(x2, y2)}`;
}

function functionFigures(f: Pick<FunctionFigures, 'name' | 'topic' | 'lag' | 'per_second' | 'calls'> | undefined): { figure: string; unit: string; facts: string } {
  return {
    figure: rate(f?.per_second), unit: 'ticks/s',
    facts: facts([f?.lag === undefined ? '' : `lag ${count(f.lag)}`, f?.calls?.p99 === undefined ? '' : `p99 ${delay(f.calls.p99)} a call`]),
  };
}

function lagSum(list: FunctionFigures[]): { lag?: number; per_second?: number } {
  const add = (of: (f: FunctionFigures) => number | undefined) => list.reduce<number | undefined>((n, f) => (of(f) === undefined ? n : (n ?? 0) + of(f)!), undefined);
  const [lag, per] = [add((f) => f.lag), add((f) => f.per_second)];
  return { ...(lag === undefined ? {} : { lag }), ...(per === undefined ? {} : { per_second: per }) };
}

function stateOf(p: Part | undefined): { state: State; reason: string } {
  return { state: p?.state ?? 'unknown', reason: p?.reason ?? '' };
}

function sum(m: PipelineMessage | null, of: (f: FunctionFigures) => number | undefined, word: string): string {
  const known = (m?.functions ?? []).map(of).filter((n) => n !== undefined);
  return known.length === 0 ? '' : `${count(known.reduce((a, b) => a + b, 0))} ${word}`;
}

const facts = (list: string[]) => list.filter(Boolean).join(' · ');

function short(n: number): string {
  return n < 10_000 ? count(n) : n < 1e6 ? `${(n / 1e3).toFixed(0)}K` : n < 1e9 ? `${(n / 1e6).toFixed(1)}M` : `${(n / 1e9).toFixed(2)}B`;
}
