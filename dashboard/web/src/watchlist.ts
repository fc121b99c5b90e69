import { compact, sign, toNumber } from './decimal';
import { calm, element, setText, svgElement } from './dom';
import type { Quote } from './market';
import { nameOf } from './names';
import { age, arrow, changeText, percentText, priceText } from './text';

const sparkWidth = 80;
const sparkHeight = 28;
const sparkPause = 900; // a trend needs no more than a drawing a second
/** Without a trade for so long a symbol looks stale. */
export const staleAfter = 120_000;

interface Row {
  element: HTMLTableRowElement;
  link: HTMLAnchorElement;
  name: HTMLElement;
  line: SVGPolylineElement;
  dot: SVGCircleElement;
  wash: HTMLElement;
  last: HTMLElement;
  change: HTMLElement;
  percent: HTMLElement;
  percentArrow: HTMLElement;
  volume: HTMLElement;
  price: string;
  time: number;
  drawn: number;
  visible: boolean;
}

/**
 * The table of symbols. A row is written when its symbol changes, once a frame at
 * most, and once a second where it is scrolled out of sight.
 */
export class WatchList {
  private readonly rows = new Map<string, Row>();
  private readonly due = new Map<string, Quote>(); // changed out of sight
  private readonly sight = new IntersectionObserver((entries) => {
    for (const e of entries) {
      const symbol = (e.target as HTMLElement).dataset['symbol'] ?? '';
      const row = this.rows.get(symbol);
      if (!row) continue;
      row.visible = e.isIntersecting;
      const q = this.due.get(symbol);
      if (row.visible && q) this.write(q, row);
    }
  });
  private readonly pending = new Map<string, number>();
  private selected = '';
  private query = '';

  constructor(
    private readonly body: HTMLTableSectionElement,
    private readonly empty: HTMLElement,
    private readonly pick: (symbol: string) => void,
  ) {
    body.addEventListener('keydown', (e) => this.keys(e));
    body.addEventListener('click', (e) => {
      const row = (e.target as Element).closest('tr');
      if (row?.dataset['symbol']) this.pick(row.dataset['symbol']);
    });
  }

  get symbols(): string[] {
    return [...this.rows.keys()];
  }

  /** Writes a quote into its row. The first price of a row is no tick to flash. */
  show(q: Quote): void {
    let row = this.rows.get(q.symbol);
    if (!row) {
      row = this.add(q);
    } else if (!row.visible) {
      this.due.set(q.symbol, q);
      return;
    } else if (q.time !== row.time) {
      this.flash(row, toNumber(q.price) - toNumber(row.price));
    }
    this.write(q, row);
  }

  private write(q: Quote, row: Row): void {
    this.due.delete(q.symbol);
    const direction = sign(q.change);
    row.element.dataset['sign'] = String(direction);
    row.element.dataset['source'] = q.info.source;
    setText(row.last, priceText(q));
    setText(row.change, changeText(q));
    setText(row.percent, percentText(q));
    setText(row.percentArrow, q.percent === undefined ? '' : arrow(direction));
    setText(row.volume, q.volume === undefined || q.volume === '0' ? '–' : compact(q.volume));
    row.volume.title = q.volume === undefined ? 'No volume is known' : `${Number(q.volume).toLocaleString()} today`;
    row.price = q.price;
    row.time = q.time;
    this.outline(q, row);
  }

  remove(symbol: string): void {
    const row = this.rows.get(symbol);
    if (!row) return;
    this.sight.unobserve(row.element);
    row.element.remove();
    this.rows.delete(symbol);
    this.due.delete(symbol);
  }

  select(symbol: string): void {
    this.rows.get(this.selected)?.link.removeAttribute('aria-current');
    this.rows.get(this.selected)?.element.classList.remove('selected');
    this.selected = symbol;
    this.mark();
  }

  filter(text: string): void {
    this.query = text.trim().toLowerCase();
    let shown = 0;
    for (const [symbol, row] of this.rows) {
      row.element.hidden = !this.matches(symbol);
      if (!row.element.hidden) shown++;
    }
    this.empty.hidden = shown > 0 || this.rows.size === 0;
  }

  /** Once a second: what changed out of sight is written, and rows without a trade for long look it. */
  second(now: number, quotes: ReadonlyMap<string, Quote>): void {
    for (const [symbol, q] of this.due) {
      const row = this.rows.get(symbol);
      if (row) this.write(q, row);
    }
    for (const [symbol, row] of this.rows) {
      const q = quotes.get(symbol);
      if (!q) continue;
      const closed = q.info.market_state === 'CLOSED';
      const stale = now - q.time > staleAfter;
      row.element.classList.toggle('stale', stale);
      const name = nameOf(symbol) || q.info.exchange;
      const since = closed ? 'Closed' : `${age(now - q.time)} ago`;
      setText(row.name, stale ? [name, since].filter(Boolean).join(' · ') : name);
    }
  }

  private mark(): void {
    const row = this.rows.get(this.selected);
    row?.link.setAttribute('aria-current', 'true');
    row?.element.classList.add('selected');
  }

  private matches(symbol: string): boolean {
    return this.query === '' || symbol.toLowerCase().includes(this.query) || nameOf(symbol).toLowerCase().includes(this.query);
  }

  private add(q: Quote): Row {
    const tr = element('tr');
    tr.dataset['symbol'] = q.symbol;
    const head = element('th', 'symbol');
    head.scope = 'row';
    const link = element('a', '', q.symbol);
    link.href = '#' + encodeURIComponent(q.symbol);
    const name = element('span', 'name', nameOf(q.symbol) || q.info.exchange);
    head.append(link, element('span', 'sim', 'SIM'), name);
    head.querySelector('.sim')!.setAttribute('title', 'Simulated, not a real price');

    const trend = element('td', 'trend');
    const line = svgElement('polyline', { class: 'line' });
    const dot = svgElement('circle', { class: 'dot', r: '0' });
    const image = svgElement('svg', { viewBox: `0 0 ${sparkWidth} ${sparkHeight}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
    image.append(line, dot);
    trend.append(image);

    const lastCell = element('td', 'last');
    const wash = element('i', 'wash');
    const last = element('span');
    lastCell.append(wash, last);
    const change = element('td', 'change');
    const percentCell = element('td', 'percent');
    const percentArrow = element('span', 'arrow');
    const percent = element('span');
    percentArrow.setAttribute('aria-hidden', 'true');
    percentCell.append(percentArrow, percent);
    const volume = element('td', 'volume');
    tr.append(head, trend, lastCell, change, percentCell, volume);
    tr.hidden = !this.matches(q.symbol);

    const row: Row = { element: tr, link, name, line, dot, wash, last, change, percent, percentArrow, volume, price: q.price, time: q.time, drawn: 0, visible: true };
    this.sight.observe(tr);
    this.rows.set(q.symbol, row);
    const after = [...this.body.rows].find((r) => (r.dataset['symbol'] ?? '') > q.symbol);
    this.body.insertBefore(tr, after ?? null);
    if (q.symbol === this.selected) this.mark();
    return row;
  }

  private flash(row: Row, difference: number): void {
    if (calm.matches || row.element.hidden) return;
    row.wash.className = `wash ${difference > 0 ? 'up' : difference < 0 ? 'down' : 'even'}`;
    // Opacity alone, so that nothing is painted anew while it fades.
    row.wash.animate([{ opacity: 1 }, { opacity: 0 }], { duration: 600, easing: 'ease-out' });
  }

  private outline(q: Quote, row: Row): void {
    const now = performance.now();
    if (now - row.drawn < sparkPause) {
      if (!this.pending.has(q.symbol)) {
        const wait = sparkPause - (now - row.drawn);
        this.pending.set(q.symbol, window.setTimeout(() => { this.pending.delete(q.symbol); this.draw(q, row); }, wait));
      }
      return;
    }
    this.draw(q, row);
  }

  private draw(q: Quote, row: Row): void {
    row.drawn = performance.now();
    const values = q.spark.map(([, close]) => toNumber(close));
    if (values.length < 2) return;
    const low = Math.min(...values);
    const span = Math.max(...values) - low || 1;
    const step = (sparkWidth - 6) / (values.length - 1);
    const points = values.map((v, i) => [2 + i * step, 3 + (1 - (v - low) / span) * (sparkHeight - 6)] as const);
    row.line.setAttribute('points', points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(' '));
    const [x, y] = points.at(-1)!;
    row.dot.setAttribute('cx', x.toFixed(1));
    row.dot.setAttribute('cy', y.toFixed(1));
    row.dot.setAttribute('r', '2');
  }

  private keys(e: KeyboardEvent): void {
    const step = { ArrowDown: 1, ArrowUp: -1, j: 1, k: -1 }[e.key];
    if (step === undefined || e.altKey || e.ctrlKey || e.metaKey) return;
    const shown = [...this.body.rows].filter((r) => !r.hidden);
    const at = shown.findIndex((r) => r.contains(document.activeElement));
    const next = shown[at + step];
    if (!next) return;
    e.preventDefault();
    const symbol = next.dataset['symbol']!;
    this.rows.get(symbol)?.link.focus();
    next.scrollIntoView({ block: 'nearest' });
    this.pick(symbol);
  }
}
