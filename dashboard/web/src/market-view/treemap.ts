import { element, setText } from '../dom';
import { roving } from '../a11y/roving';
import { css, parse, shade, steps } from './heat';
import { atLeast, neighbour, squarify, type Direction, type Rect } from './squarify';

/** What a tile shows of a symbol, which changes with each tick. */
export interface Face {
  symbol: string;
  price: string;
  percent: string;
  /** Of the scale of colours. */
  step: number;
}

/** One symbol as the treemap lays it out. */
export interface Tile extends Face {
  /** What is read out after what can be seen. */
  spoken: string;
  /** Its share of the area; null where there is nothing to compare. */
  weight: number | null;
  simulated: boolean;
  href: string;
}

interface Shown {
  box: HTMLAnchorElement;
  name: HTMLElement;
  percent: HTMLElement;
  price: HTMLElement;
  spoken: HTMLElement;
  rect: Rect;
}

const gap = 2;
const captionHeight = 22;
/** A tile is no smaller, px², unless there are so many that half of an equal share is less. */
const leastArea = 24 * 24;
const directions: Record<string, Direction> = { ArrowLeft: 'left', ArrowRight: 'right', ArrowUp: 'up', ArrowDown: 'down' };

/** The treemap: one link a symbol, placed by weight; those without one lie in a strip below. */
export class Treemap {
  private readonly tiles = new Map<string, Shown>();
  private order: string[] = [];
  private readonly caption = element('p', 'map-caption');
  private readonly settle: () => void;
  private width = 0;
  private height = 0;

  constructor(private readonly host: HTMLElement, private readonly hover: (symbol: string | null, at: HTMLElement | null) => void) {
    host.append(this.caption);
    this.settle = roving(host, () => this.order.map((s) => this.tiles.get(s)!.box), (key, i, n) => {
      if (key === 'Home') return 0;
      if (key === 'End') return n - 1;
      const direction = directions[key];
      return direction ? neighbour(this.order.map((s) => this.tiles.get(s)!.rect), i, direction) : -1;
    });
    const point = (e: Event) => {
      const box = (e.target as Element).closest<HTMLElement>('.tile');
      this.hover(box?.dataset['symbol'] ?? null, box);
    };
    host.addEventListener('pointerover', point);
    host.addEventListener('focusin', point);
    host.addEventListener('pointerleave', () => this.hover(null, null));
    host.addEventListener('focusout', () => this.hover(null, null));
  }

  /** Takes the colours of the theme, for all within root. */
  dress(root: HTMLElement, token: (name: string) => string): void {
    const [neutral, up, down, ink, ground] = ['--raised-2', '--up', '--down', '--ink', '--ground'].map((name) => parse(token(name))) as [never, never, never, never, never];
    for (let step = -steps; step <= steps; step++) {
      const s = shade(step, neutral, up, down, [ink, ground]);
      root.style.setProperty(`--heat${step}`, css(s.ground));
      root.style.setProperty(`--heat-ink${step}`, css(s.ink));
    }
  }

  /** Lays all tiles out, ordered by weight; returns whether some are larger than their weight. */
  lay(list: readonly Tile[], width: number, height: number, without: string): boolean {
    this.width = width;
    this.height = height;
    const weighed = list.filter((t) => t.weight !== null).sort((a, b) => b.weight! - a.weight! || (a.symbol < b.symbol ? -1 : 1));
    const others = list.filter((t) => t.weight === null).sort((a, b) => (a.symbol < b.symbol ? -1 : 1));
    const strip = others.length === 0 ? 0 : weighed.length === 0 ? height : Math.min(Math.max((height * others.length) / list.length / 2, 44), height * 0.3);
    const shownCaption = strip > 0 && weighed.length > 0;
    this.caption.hidden = !shownCaption;
    if (shownCaption) {
      setText(this.caption, without);
      this.caption.style.transform = `translateY(${Math.round(height - strip - captionHeight)}px)`;
    }
    const top = height - strip - (shownCaption ? captionHeight : 0);
    const weights = weighed.map((t) => t.weight!);
    const raised = atLeast(weights, Math.min(leastArea / Math.max(width * top, 1), 0.5 / weights.length));
    const rects = [
      ...squarify(raised, { x: 0, y: 0, width, height: top }),
      ...squarify(others.map(() => 1), { x: 0, y: height - strip, width, height: strip }),
    ];
    const gone = new Set(this.tiles.keys());
    this.order = [];
    [...weighed, ...others].forEach((t, i) => {
      gone.delete(t.symbol);
      this.order.push(t.symbol);
      const shown = this.tile(t);
      setText(shown.spoken, t.spoken);
      shown.box.dataset['source'] = t.simulated ? 'simulated' : '';
      if (shown.box.getAttribute('href') !== t.href) shown.box.setAttribute('href', t.href);
      this.place(shown, rects[i]!);
      this.show(t);
    });
    for (const symbol of gone) {
      this.tiles.get(symbol)!.box.remove();
      this.tiles.delete(symbol);
    }
    this.settle();
    return raised.some((w, i) => w > weights[i]!);
  }

  /** Writes one symbol where it lies. */
  show(t: Face): void {
    const shown = this.tiles.get(t.symbol);
    if (!shown) return;
    setText(shown.percent, t.percent);
    setText(shown.price, t.price);
    const data = shown.box.dataset;
    const step = String(t.step);
    if (data['step'] !== step) {
      data['step'] = step;
      shown.box.style.setProperty('--heat', `var(--heat${step})`);
      shown.box.style.setProperty('--heat-ink', `var(--heat-ink${step})`);
    }
  }

  /** Whether the box has other sides than at the last laying out. */
  outgrown(width: number, height: number): boolean {
    return width !== this.width || height !== this.height;
  }

  symbols(): readonly string[] {
    return this.order;
  }

  private tile(t: Tile): Shown {
    let shown = this.tiles.get(t.symbol);
    if (!shown) {
      const box = element('a', 'tile');
      box.dataset['symbol'] = t.symbol;
      const name = element('b', '', t.symbol);
      const percent = element('span', 'tile-percent');
      const price = element('span', 'tile-price');
      const spoken = element('span', 'hidden');
      box.append(name, percent, price, spoken);
      this.host.append(box);
      shown = { box, name, percent, price, spoken, rect: { x: 0, y: 0, width: 0, height: 0 } };
      this.tiles.set(t.symbol, shown);
    }
    return shown;
  }

  private place(shown: Shown, r: Rect): void {
    shown.rect = r;
    // Whole pixels, and the same gap between all: sides are rounded, not lengths.
    const [left, top] = [Math.round(r.x), Math.round(r.y)];
    const width = Math.max(Math.round(r.x + r.width) - left - (r.x + r.width < this.width - 1 ? gap : 0), 0);
    const height = Math.max(Math.round(r.y + r.height) - top - (r.y + r.height < this.height - 1 ? gap : 0), 0);
    const style = shown.box.style;
    style.transform = `translate(${left}px, ${top}px)`;
    style.width = `${width}px`;
    style.height = `${height}px`;
    // Text as large as the tile allows: the symbol's width decides, then the height.
    const letters = Math.max(shown.name.textContent!.length, 7);
    const size = Math.min((width - 8) / (letters * 0.62), height / 3.1, 40);
    const alone = Math.min((width - 4) / (shown.name.textContent!.length * 0.66), height - 3, 12);
    shown.box.dataset['fit'] = size >= 15 && height > 72 ? 'all' : size >= 9.5 ? 'two' : alone >= 8 ? 'name' : 'none';
    style.fontSize = `${Math.max(size >= 9.5 ? size : Math.max(alone, 8), 8).toFixed(1)}px`;
  }
}
