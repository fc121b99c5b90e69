import { element, setText, svgElement } from '../dom';
import { delay, count, unknown } from './format';
import { usualBounds } from './histogram';

/** One stretch of the way, with how its delays are spread. */
export interface Stretch {
  name: string;
  /** What it leads from and to. */
  about: string;
  counts: readonly number[] | null;
  p50: number | undefined;
  p95: number | undefined;
  p99: number | undefined;
  count: number | undefined;
  /** The whole way, which is drawn larger. */
  whole?: boolean;
}

const high = 100; // of a row's drawing, in its units

interface Row {
  box: HTMLElement;
  name: HTMLElement;
  about: HTMLElement;
  picture: SVGSVGElement;
  bars: SVGPathElement;
  marks: SVGPathElement[];
  figures: HTMLElement[];
}

/** The delays of each stretch of the way as histograms over one axis, which is logarithmic. */
export class LatencyPanel {
  readonly box = element('section', 'latency card');
  readonly head = element('header', 'card-head');
  private readonly rows: Row[] = [];
  private readonly list = element('div', 'latency-rows');
  private readonly axis = element('div', 'latency-axis');
  private readonly scale = element('div', 'latency-scale');
  private readonly note = element('p', 'card-note');
  private axisOf = '';

  constructor() {
    const h = element('h3', '', 'Latency');
    h.id = 'latency-title';
    this.box.setAttribute('aria-labelledby', h.id);
    this.head.append(h, element('span', 'card-about', 'the last 60 seconds'));
    const top = element('div', 'latency-row latency-top');
    top.setAttribute('aria-hidden', 'true');
    top.append(element('span'), this.scale, ...['p50', 'p95', 'p99'].map((t) => element('span', `latency-figure ${t}`, t)));
    this.list.setAttribute('role', 'list');
    this.axis.setAttribute('aria-hidden', 'true');
    this.box.append(this.head, top, this.list, this.note);
  }

  show(stretches: readonly Stretch[], bounds: readonly number[] = usualBounds, note: string): void {
    setText(this.note, note);
    // The axis reaches from the first to the last bucket that anything lies in, and at least over a second.
    let last = bounds.findIndex((b) => b >= 1000);
    if (last < 0) last = bounds.length - 1;
    for (const s of stretches) s.counts?.forEach((n, i) => { if (n > 0 && i > last) last = i; });
    const columns = Math.min(last + 2, bounds.length + 1);
    this.drawAxis(bounds, columns);
    while (this.rows.length < stretches.length) this.add();
    this.rows.forEach((row, i) => {
      const s = stretches[i];
      row.box.hidden = !s;
      if (s) this.draw(row, s, bounds, columns);
    });
  }

  private draw(row: Row, s: Stretch, bounds: readonly number[], columns: number): void {
    row.box.classList.toggle('latency-whole', s.whole === true);
    setText(row.name, s.name);
    setText(row.about, s.about);
    row.picture.setAttribute('viewBox', `0 0 ${columns} ${high}`);
    const most = Math.max(...(s.counts ?? []), 1);
    row.bars.setAttribute('d', (s.counts ?? []).slice(0, columns).map((n, i) => (n === 0 ? '' : `M${i + 0.06} ${high}v${(-Math.max((n / most) * (high - 6), 3)).toFixed(1)}h.88V${high}z`)).join(''));
    const values = [s.p50, s.p95, s.p99];
    values.forEach((v, i) => {
      const x = v === undefined ? null : place(bounds, v);
      row.marks[i]!.setAttribute('d', x === null || x > columns ? '' : `M${x.toFixed(2)} 0V${high}`);
      setText(row.figures[i]!, v === undefined ? unknown : delay(v));
    });
    row.box.title = s.count === undefined ? '' : `${count(s.count)} measured`;
    row.picture.ariaLabel = s.p50 === undefined ? 'Nothing measured.' : `Histogram of ${count(s.count)} delays.`;
  }

  private add(): void {
    const box = element('div', 'latency-row');
    box.setAttribute('role', 'listitem');
    const who = element('span', 'latency-who');
    const name = element('b');
    const about = element('span', 'latency-about');
    who.append(name, about);
    const picture = svgElement('svg', { preserveAspectRatio: 'none', role: 'img' });
    const bars = svgElement('path', { class: 'latency-bars' });
    const marks = ['p50', 'p95', 'p99'].map((c) => svgElement('path', { class: `latency-mark ${c}` }));
    picture.append(bars, ...marks);
    const figures = ['p50', 'p95', 'p99'].map((c) => element('span', `latency-figure ${c}`));
    const labelled = figures.map((f, i) => {
      const cell = element('span', 'latency-cell');
      cell.append(element('span', 'hidden', `${['p50', 'p95', 'p99'][i]} `), f);
      return cell;
    });
    box.append(who, picture, ...labelled);
    this.list.append(box);
    this.rows.push({ box, name, about, picture, bars, marks, figures });
  }

  private drawAxis(bounds: readonly number[], columns: number): void {
    const of = `${columns} ${bounds.join()}`;
    if (of === this.axisOf) return;
    this.axisOf = of;
    this.scale.replaceChildren();
    for (const [ms, text] of [[1, '1 ms'], [10, '10'], [100, '100'], [1_000, '1 s'], [10_000, '10 s'], [60_000, '1 min']] as const) {
      const x = place(bounds, ms);
      if (x > columns) continue;
      const tick = element('span', '', text);
      tick.style.insetInlineStart = `${(x / columns) * 100}%`;
      this.scale.append(tick);
    }
    this.list.style.setProperty('--columns', String(columns));
  }
}

/** Where a delay lies on the axis, in columns: by proportion within its bucket. */
export function place(bounds: readonly number[], ms: number): number {
  let i = 0;
  while (i < bounds.length && bounds[i]! < ms) i++;
  const [from, to] = [bounds[i - 1] ?? 0, bounds[i] ?? (bounds.at(-1) ?? 1) * 2];
  return i + Math.min((ms - from) / (to - from), 1);
}
