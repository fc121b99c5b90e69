import './style.css';

import type { App } from '../app';
import { compact, sign } from '../decimal';
import { element, setText } from '../dom';
import type { Quote } from '../market';
import { nameOf } from '../names';
import { token } from '../settings';
import { arrow, clockText, percentText, priceText, zonedText } from '../text';
import type { Mounted } from '../view';
import { breadth, breadthOverTime, type Past } from './breadth';
import { BreadthPanel } from './breadth-panel';
import { stepOf, steps } from './heat';
import { MoverList, type Mover } from './movers';
import { Treemap, type Face, type Tile } from './treemap';
import { dollarRates, turnover, type Traded } from './turnover';

const areas = { day: 'Turnover', equal: 'Equal' } as const;
const scales = [1, 3, 6] as const;
const listed = 10;
/** How often tiles find new places, ms: colours and figures follow each tick. */
const layEvery = 5_000;

type Area = keyof typeof areas;

/** The whole market: a treemap, breadth and the movers. */
export function mount(host: HTMLElement, app: App): Mounted {
  const view = new MarketView(host, app);
  return { show: () => view.show(), hide: () => view.hide() };
}

class MarketView {
  private readonly treemap: Treemap;
  private readonly map = element('div', 'map');
  private readonly note = element('p', 'market-note');
  private readonly card = element('div', 'map-card');
  private readonly breadth = new BreadthPanel();
  private readonly gainers = new MoverList('Top gainers', 'gainers-title', 'No symbol is up.');
  private readonly losers = new MoverList('Top losers', 'losers-title', 'No symbol is down.');
  private readonly active = new MoverList('Most active', 'active-title', 'No turnover is known yet.');
  private readonly scaleLabels: HTMLElement[] = [];
  private shown = false;
  private laid = 0;
  private rates: ReadonlyMap<string, number> = new Map();
  private pointed: string | null = null;

  constructor(host: HTMLElement, private readonly app: App) {
    const root = element('div', 'market');
    const title = element('h2', 'hidden', 'Market');
    const mapBox = element('section', 'map-box card');
    mapBox.setAttribute('aria-labelledby', 'map-title');
    const head = element('header', 'card-head');
    const h = element('h3', '', 'Heat map');
    h.id = 'map-title';
    head.append(h, this.choice('Area', 'area', Object.entries(areas)), this.choice('Colours reach to', 'scale', scales.map((s) => [String(s), `±${s} %`])));
    const legend = element('div', 'map-legend');
    legend.setAttribute('aria-hidden', 'true');
    for (let step = -steps; step <= steps; step++) {
      const box = element('span');
      box.style.background = `var(--heat${step})`;
      box.style.color = `var(--heat-ink${step})`;
      this.scaleLabels.push(box);
      legend.append(box);
    }
    this.map.setAttribute('role', 'group');
    this.map.setAttribute('aria-labelledby', 'map-title');
    this.map.setAttribute('aria-describedby', 'map-help');
    const help = element('p', 'hidden', 'One link a symbol. Its area is the turnover, its colour the change. Arrow keys move between neighbours, Enter opens the chart.');
    help.id = 'map-help';
    this.card.hidden = true;
    this.card.setAttribute('aria-hidden', 'true');
    const foot = element('footer', 'map-foot');
    foot.append(this.note, legend);
    const frame = element('div', 'map-frame');
    frame.append(this.map, this.card);
    mapBox.append(head, help, frame, foot);
    const side = element('div', 'market-side');
    side.append(this.breadth.box, this.gainers.box, this.losers.box, this.active.box);
    root.append(title, mapBox, side);
    host.append(root);

    this.treemap = new Treemap(this.map, (symbol, at) => this.point(symbol, at));
    new ResizeObserver(() => {
      if (this.shown && this.treemap.outgrown(this.map.clientWidth, this.map.clientHeight)) this.lay();
    }).observe(this.map);
    app.settings.look.follow(() => this.treemap.dress(root, token));
    app.onFrame((changed) => {
      if (this.shown) this.update(changed);
    });
    app.onSnapshot(() => {
      if (this.shown) this.refresh(true);
    });
    app.onSecond(() => {
      if (this.shown) this.refresh(Date.now() - this.laid >= layEvery);
    });
    app.router.route.follow(() => {
      if (this.shown) this.refresh(true);
    });
    root.addEventListener('keydown', (e) => {
      if (e.key === 'Escape') this.point(null, null);
    });
    this.tables(head);
  }

  show(): void {
    this.shown = true;
    this.refresh(true);
  }

  hide(): void {
    this.shown = false;
    this.point(null, null);
  }

  private get area(): Area {
    return this.app.router.param('area') === 'equal' ? 'equal' : 'day';
  }

  private get scale(): number {
    const s = Number(this.app.router.param('scale'));
    return (scales as readonly number[]).includes(s) ? s : 3;
  }

  /** A row of radio buttons that stands in the address. */
  private choice(legend: string, name: string, options: [string, string][]): HTMLElement {
    const set = element('fieldset', 'segments');
    set.append(element('legend', 'hidden', legend));
    for (const [value, text] of options) {
      const label = element('label');
      const input = element('input');
      input.type = 'radio';
      input.name = `market-${name}`;
      input.value = value;
      label.append(input, element('span', '', text));
      set.append(label);
    }
    set.addEventListener('change', (e) => {
      const { value } = e.target as HTMLInputElement;
      const usual = name === 'area' ? 'day' : '3';
      this.app.router.go({ params: { [name]: value === usual ? '' : value } }, true);
    });
    this.app.router.route.follow(() => {
      const value = name === 'area' ? this.area : String(this.scale);
      for (const input of set.querySelectorAll('input')) input.checked = input.value === value;
    });
    return set;
  }

  /** All that depends on the whole market. */
  private refresh(lay: boolean): void {
    const quotes = [...this.app.market.quotes.values()];
    this.rates = dollarRates(quotes.map(traded));
    if (lay || this.treemap.symbols().length !== quotes.length) this.lay();
    const most = this.scale;
    this.scaleLabels.forEach((e, i) => {
      const step = i - steps;
      setText(e, step === -steps ? `−${most} %` : step === steps ? `+${most} %` : step === 0 ? '0' : '');
    });

    const past = quotes.map(pastOf);
    const spread = new Array<number>(2 * steps + 1).fill(0);
    for (const q of quotes) if (q.percent !== undefined) spread[stepOf(Number(q.percent), most) + steps]!++;
    this.breadth.show(breadth(past), breadthOverTime(past, this.app.clock.serverNow(), 60), spread, most, (ms) => clockText(ms).slice(0, 5));

    const moved = quotes.filter((q) => q.percent !== undefined);
    const by = (direction: 1 | -1) => moved.filter((q) => sign(q.percent) === direction).sort((a, b) => direction * (Number(b.percent) - Number(a.percent))).slice(0, listed);
    const percents = (list: Quote[]) => {
      const top = Math.abs(Number(list[0]?.percent ?? 0));
      return list.map((q) => this.mover(q, arrow(sign(q.percent)), percentText(q), Math.abs(Number(q.percent)) / top));
    };
    this.gainers.show(percents(by(1)));
    this.losers.show(percents(by(-1)));
    const traders = this.traders(quotes);
    this.active.show(traders.slice(0, listed).map(([q, money]) => this.mover(q, '', `$${compact(String(Math.round(money)))}`, money / traders[0]![1])));
  }

  /** Symbols whose turnover is known, the most active first. */
  private traders(quotes: Quote[]): [Quote, number][] {
    const list: [Quote, number][] = [];
    for (const q of quotes) {
      const money = turnover(traded(q), this.rates);
      if (money !== null) list.push([q, money]);
    }
    return list.sort((a, b) => b[1] - a[1]);
  }

  private mover(q: Quote, mark: string, figure: string, share: number): Mover {
    return { symbol: q.symbol, name: fullName(q), price: priceText(q), arrow: mark, figure, sign: sign(q.percent), share, simulated: q.info.source === 'simulated', href: this.href(q.symbol) };
  }

  private href(symbol: string): string {
    return this.app.router.href({ view: 'watch', symbol });
  }

  private face(q: Quote): Face {
    return {
      symbol: q.symbol,
      price: priceText(q),
      percent: q.percent === undefined ? '–' : `${arrow(sign(q.percent))} ${percentText(q)}`,
      step: stepOf(q.percent === undefined ? null : Number(q.percent), this.scale),
    };
  }

  private tile(q: Quote): Tile {
    const money = turnover(traded(q), this.rates);
    return {
      ...this.face(q),
      spoken: [fullName(q), money === null ? '' : `turnover ${compact(String(Math.round(money)))} dollars`].filter(Boolean).join(', '),
      weight: this.area === 'equal' ? 1 : money,
      simulated: q.info.source === 'simulated',
      href: this.href(q.symbol),
    };
  }

  private lay(): void {
    this.laid = Date.now();
    const tiles = [...this.app.market.quotes.values()].map((q) => this.tile(q));
    const without = tiles.filter((t) => t.weight === null).length;
    const raised = this.treemap.lay(tiles, this.map.clientWidth, this.map.clientHeight, 'No turnover to compare: indices, currencies, futures');
    setText(this.note, this.area === 'equal' || without === tiles.length ? 'All areas are equal.' : `Area: volume of the day × last price, in dollars.${raised ? ' The smallest are drawn larger.' : ''}`);
  }

  private update(changed: ReadonlySet<string>): void {
    if (this.treemap.symbols().length !== this.app.market.quotes.size) this.lay();
    for (const symbol of changed) {
      const q = this.app.market.quotes.get(symbol);
      if (q) this.treemap.show(this.face(q));
    }
    if (this.pointed !== null && changed.has(this.pointed)) this.describe(this.pointed);
  }

  /** Shows more of a tile beside it. */
  private point(symbol: string | null, at: HTMLElement | null): void {
    this.pointed = symbol;
    this.card.hidden = symbol === null;
    if (symbol === null || !at) return;
    this.describe(symbol);
    const [box, tile] = [this.map.getBoundingClientRect(), at.getBoundingClientRect()];
    const width = 230;
    const right = tile.right - box.left + 8;
    const left = right + width <= box.width ? right : tile.left - box.left - width - 8;
    const x = Math.min(Math.max(left, 4), Math.max(box.width - width - 4, 4));
    const y = Math.min(Math.max(tile.top - box.top, 4), Math.max(box.height - this.card.offsetHeight - 4, 4));
    this.card.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
  }

  private describe(symbol: string): void {
    const q = this.app.market.quotes.get(symbol);
    if (!q) return;
    const money = turnover(traded(q), this.rates);
    const head = element('b', '', symbol);
    const name = element('span', 'map-card-name', fullName(q));
    const price = element('p', 'map-card-price', priceText(q));
    const change = element('span', '', q.percent === undefined ? '' : `${arrow(sign(q.percent))} ${percentText(q)}`);
    change.dataset['sign'] = String(sign(q.percent));
    price.append(' ', change);
    const facts = element('dl');
    const fact = (term: string, value: string) => {
      if (value) facts.append(element('dt', '', term), element('dd', '', value));
    };
    fact('Turnover', money === null ? 'not known' : `$${compact(String(Math.round(money)))}`);
    fact('Volume', q.volume === undefined ? '' : compact(q.volume));
    fact('Last trade', q.time > 0 ? zonedText(q.time, 'second', q.info.exchange) : '');
    if (q.info.source === 'simulated') fact('Source', 'simulated');
    this.card.replaceChildren(head, name, price, facts);
  }

  private tables(mapHead: HTMLElement): void {
    const quotes = () => [...this.app.market.quotes.values()];
    this.app.offerTable(mapHead, {
      title: () => 'Turnover and change',
      columns: () => ['Symbol', 'Name', 'Last', 'Change %', 'Turnover USD', 'Volume', 'Source'],
      rows: () => {
        const money = new Map(this.traders(quotes()).map(([q, m]) => [q.symbol, String(Math.round(m))]));
        return quotes()
          .sort((a, b) => Number(money.get(b.symbol) ?? -1) - Number(money.get(a.symbol) ?? -1))
          .map((q) => [q.symbol, fullName(q), q.price, q.percent ?? '', money.get(q.symbol) ?? '', q.volume ?? '', q.info.source]);
      },
    });
    this.app.offerTable(this.breadth.head, {
      title: () => 'Breadth by minute',
      columns: () => ['Minute', 'Advancers', 'Unchanged', 'Decliners'],
      rows: () => breadthOverTime(quotes().map(pastOf), this.app.clock.serverNow(), 60).reverse().map((b) => [new Date(b.start).toISOString(), b.up, b.even, b.down].map(String)),
    });
  }
}

function fullName(q: Quote): string {
  return q.info.name ?? nameOf(q.symbol);
}

const traded = (q: Quote): Traded => ({ symbol: q.symbol, price: q.price, volume: q.volume, currency: q.info.currency, exchange: q.info.exchange });
const pastOf = (q: Quote): Past => ({ change: q.change, price: q.price, previousClose: q.info.previous_close, spark: q.spark });
