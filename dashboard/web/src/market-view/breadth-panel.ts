import { element, setText, svgElement } from '../dom';
import type { Breadth, BreadthAt } from './breadth';
import { steps } from './heat';

const high = 44; // of each half, in the drawing's units

/** Breadth: a bar of now, columns of the last hour (advancers above the line, decliners below), and how the changes are spread. */
export class BreadthPanel {
  readonly box = element('section', 'breadth card');
  readonly head = element('header', 'card-head');
  private readonly parts: Record<'up' | 'even' | 'down', { bar: HTMLElement; text: HTMLElement }>;
  private readonly columns: SVGSVGElement;
  private readonly ups: SVGPathElement;
  private readonly downs: SVGPathElement;
  private readonly from = element('span');
  private readonly until = element('span');
  private readonly spread: { bar: HTMLElement; count: HTMLElement; label: HTMLElement }[] = [];
  private readonly past: HTMLElement;

  constructor() {
    const h = element('h3', '', 'Breadth');
    h.id = 'breadth-title';
    this.head.append(h);
    this.box.setAttribute('aria-labelledby', h.id);

    const line = element('div', 'breadth-now');
    const part = (kind: 'up' | 'even' | 'down', arrow: string, word: string) => {
      const bar = element('div', `breadth-part ${kind}`);
      const text = element('b');
      const label = element('span', '', ` ${word}`);
      const sign = element('span', 'breadth-arrow', arrow);
      sign.setAttribute('aria-hidden', 'true');
      bar.append(sign, text, label);
      line.append(bar);
      return { bar, text };
    };
    this.parts = { up: part('up', '▲', 'advancers'), even: part('even', '·', 'unchanged'), down: part('down', '▼', 'decliners') };

    this.columns = svgElement('svg', { class: 'breadth-columns', viewBox: `0 0 60 ${2 * high}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
    this.ups = svgElement('path', { class: 'up' });
    this.downs = svgElement('path', { class: 'down' });
    this.columns.append(this.ups, this.downs, svgElement('path', { class: 'zero', d: `M0 ${high}H60` }));
    const axis = element('div', 'breadth-axis');
    axis.append(this.from, this.until);
    this.past = element('div', 'breadth-past');
    this.past.setAttribute('role', 'img');
    this.past.append(this.columns, axis);

    const spread = element('div', 'breadth-spread');
    spread.setAttribute('aria-hidden', 'true');
    for (let step = -steps; step <= steps; step++) {
      const column = element('div', 'spread-column');
      const count = element('span', 'spread-count');
      const bar = element('div', 'spread-bar');
      const label = element('span', 'spread-label');
      bar.style.background = `var(--heat${step})`;
      column.append(count, bar, label);
      spread.append(column);
      this.spread.push({ bar, count, label });
    }
    this.box.append(this.head, line, this.past, spread);
  }

  show(now: Breadth, past: readonly BreadthAt[], spread: readonly number[], most: number, clock: (ms: number) => string): void {
    for (const kind of ['up', 'even', 'down'] as const) {
      setText(this.parts[kind].text, now[kind].toLocaleString('en'));
      this.parts[kind].bar.style.flexGrow = String(now[kind]);
    }
    const all = Math.max(...past.map((b) => Math.max(b.up, b.down)), 1);
    const first = 60 - past.length;
    const columns = (of: (b: BreadthAt) => number, sign: 1 | -1) =>
      past.map((b, i) => (of(b) === 0 ? '' : `M${first + i + 0.1} ${high}v${((-sign * of(b) * (high - 2)) / all).toFixed(2)}h.8V${high}z`)).join('');
    this.ups.setAttribute('d', columns((b) => b.up, 1));
    this.downs.setAttribute('d', columns((b) => b.down, -1));
    this.past.hidden = past.length === 0;
    const [oldest, newest] = [past[0], past.at(-1)];
    if (oldest && newest) {
      setText(this.from, clock(oldest.start));
      setText(this.until, clock(newest.start));
      this.from.style.insetInlineStart = `${(first / 60) * 100}%`;
      this.past.ariaLabel = `Advancers and decliners each minute. At ${clock(oldest.start)}: ${oldest.up} up, ${oldest.down} down. At ${clock(newest.start)}: ${newest.up} up, ${newest.down} down.`;
    }
    const top = Math.max(...spread, 1);
    this.spread.forEach(({ bar, count, label }, i) => {
      const n = spread[i] ?? 0;
      const step = i - steps;
      bar.style.height = `${Math.round((n / top) * 62)}px`;
      setText(count, n === 0 ? '' : String(n));
      setText(label, step === 0 ? '0' : Math.abs(step) === steps ? `${step < 0 ? '<−' : '>'}${trim((most * (steps - 1)) / steps)}` : `${step < 0 ? '−' : ''}${trim((most * Math.abs(step)) / steps)}`);
    });
  }
}

const trim = (n: number) => String(Math.round(n * 10) / 10);
