import type { App } from '../app';
import { intervals, isInterval, type Interval } from '../candles';
import { compact, decimalsFor, format, sign, toNumber } from '../decimal';
import { element, setText, svgElement } from '../dom';
import { formatChosen, parseChosen, usual, type Chosen } from '../indicators';
import { popup } from '../popup';
import { saveCSV, type TableSource } from '../table';
import { age, arrow, changeText, decimalsOf, markets, openingText, percentText, priceText, signed, zoneFor } from '../text';
import type { QuoteUpdate } from '../wire';
import { ChartView, type ChartNote, type Drawn } from './chart';
import { IndicatorMenu } from './indicator-menu';
import { staleAfter } from './rows';

const mostCompared = 5;

/** The chip of the legend that a line belongs to. */
const chipOf = (d: Drawn) => d.label.replace(/ (upper|lower)$/, '');

/** The chosen symbol: its figures, and its chart. */
export class Detail {
  readonly box = element('section', 'detail');
  readonly toolbar = element('div', 'chart-tools');
  readonly source: TableSource;
  private readonly title = element('h2');
  private readonly symbolText = element('span', 'who-symbol');
  private readonly nameText = element('span', 'who-name');
  private readonly meta = element('p', 'who-meta');
  private readonly price = element('div', 'price');
  private readonly last = element('span', 'price-last');
  private readonly arrow = element('span', 'price-arrow');
  private readonly change = element('span');
  private readonly percent = element('span');
  private readonly facts = element('dl', 'facts');
  private readonly fact = new Map<string, HTMLElement>();
  private readonly legend = element('div', 'legend');
  private readonly ohlc = new Map<string, HTMLElement>();
  private readonly lines = element('div', 'legend-lines');
  private readonly container = element('div', 'chart');
  private readonly note = element('div', 'chart-note');
  private readonly noteText = element('p');
  private readonly noteAction = element('button', '', '');
  private readonly live = element('button', 'go-live', 'Go to live');
  private readonly off = element('button', 'quiet detail-remove', 'Remove');
  private readonly menu: IndicatorMenu;
  private readonly chart: ChartView;
  private symbol = '';
  private interval: Interval = '1m';
  private exchange = '';
  private zone: string | undefined;
  private with: string | null = null;
  private compared = '';
  private sealed = '';
  private epoch: string | undefined;

  /** remove takes a symbol off the watch list. */
  constructor(
    private readonly app: App,
    private readonly remove: (symbol: string) => void,
  ) {
    this.menu = new IndicatorMenu((chosen, sessions) => {
      const text = formatChosen(chosen) || 'none';
      app.settings.set({ indicators: text });
      app.router.go({ params: { with: text, sessions: sessions ? '' : 'off' } }, true);
    });
    this.build();
    this.chart = new ChartView(this.container, {
      note: (n) => this.tell(n),
      read: () => this.read(),
      scrolled: (away) => {
        this.live.hidden = !away;
      },
    });
    this.source = {
      title: () => `Candles of ${this.symbol}, ${this.interval}`,
      columns: () => ['Start', 'Open', 'High', 'Low', 'Close', 'Volume', ...this.chart.drawn.map((d) => d.label)],
      rows: () => this.chart.visible().map(({ candle: c, values }) => [new Date(c.start).toISOString(), c.open, c.high, c.low, c.close, c.volume, ...values.map((v) => (v === null ? '' : String(Number(v.toPrecision(12)))))]),
    };
    app.settings.look.follow(() => this.chart.restyle());
    app.settings.zone.follow(() => {
      this.chart.restyle();
      this.head();
    });
    app.exchanges.all.follow(() => {
      this.head();
      const zone = zoneFor(this.exchange);
      if (zone !== this.zone) this.chart.restyle();
      this.zone = zone;
    });
    app.onUpdate((u) => this.update(u));
    app.onSnapshot(() => this.snapshot());
    app.pulse.follow((p) => {
      // What is sealed is exact: a correction of the past reaches the chart this way.
      const sealed = p?.seal ? `${p.seal.windows} ${p.seal.again} ${p.seal.differences}` : '';
      if (sealed !== this.sealed && this.sealed !== '') this.reload();
      this.sealed = sealed;
    });
  }

  /** Shows a symbol, as the address says how. */
  open(symbol: string): void {
    const { router } = this.app;
    const asked = router.param('interval');
    const interval: Interval = isInterval(asked) ? asked : '1m';
    const chosenText = router.param('with');
    const sessions = router.param('sessions') !== 'off';
    const text = `${chosenText} ${sessions}`;
    const exchange = this.app.market.quotes.get(symbol)?.info.exchange ?? this.app.watch.get(symbol)?.exchange ?? '';
    const moved = symbol !== this.symbol || interval !== this.interval || exchange !== this.exchange;
    this.symbol = symbol;
    this.app.symbol.set(symbol);
    this.interval = interval;
    this.exchange = exchange;
    this.zone = zoneFor(exchange);
    for (const input of this.toolbar.querySelectorAll<HTMLInputElement>('input[name="interval"]')) input.checked = input.value === interval;
    if (text !== this.with) {
      this.with = text;
      const chosen: Chosen = chosenText ? parseChosen(chosenText) : { ...usual };
      this.menu.show(chosen, sessions);
      this.chart.choose(chosen, sessions);
    }
    if (moved && symbol) this.reload();
    this.compare();
    this.head();
  }

  /** Draws what changed. */
  frame(changed: ReadonlySet<string>): void {
    this.chart.frame();
    if (changed.has(this.symbol)) {
      this.head();
      // The first trade tells the exchange, and with it the hours and the zone.
      if (this.exchange === '' && this.app.market.quotes.get(this.symbol)?.info.exchange) this.open(this.symbol);
    }
  }

  second(): void {
    if (this.symbol) this.head();
  }

  /** Asks for the candles again: a day's candle closes with its day, which the stream's minutes don't tell. */
  minute(): void {
    if (this.interval === '1d' && this.symbol) this.reload();
  }

  reload(): void {
    if (!this.symbol) return;
    this.chart.open({ symbol: this.symbol, interval: this.interval, exchange: this.exchange, price: this.app.market.quotes.get(this.symbol)?.price });
  }

  private snapshot(): void {
    // Windows may have moved on unseen, and another epoch's revisions mean nothing.
    const epoch = this.app.market.place()?.epoch;
    if (this.epoch !== undefined) this.reload();
    this.epoch = epoch;
  }

  private update(u: QuoteUpdate): void {
    this.chart.update(u.symbol, u.windows);
  }

  private compare(): void {
    const text = this.app.router.param('compare');
    const symbols = [...new Set(text.split(',').filter((s) => s && s !== this.symbol))].slice(0, mostCompared);
    const key = symbols.join(',');
    if (key === this.compared) return;
    this.compared = key;
    this.chart.compare(symbols);
  }

  private setCompared(symbols: string[]): void {
    this.app.router.go({ params: { compare: symbols.join(',') } }, true);
  }

  /** Writes the figures above the chart. */
  private head(): void {
    const { symbol } = this;
    const q = this.app.market.quotes.get(symbol);
    const name = q?.info.name || this.app.watch.nameOf(symbol);
    setText(this.symbolText, symbol);
    setText(this.nameText, name);
    const direction = sign(q?.change);
    this.price.dataset['sign'] = String(direction);
    setText(this.last, q ? priceText(q) : '–');
    setText(this.arrow, q && q.change !== undefined ? arrow(direction) : '');
    setText(this.change, q ? changeText(q) : '');
    setText(this.percent, q ? percentText(q) : '');
    setText(this.meta, q ? [this.app.exchanges.nameOf(q.info.exchange), q.info.currency, this.marketText(symbol)].filter(Boolean).join(' · ') : '');
    const watched = this.app.watch.get(symbol);
    this.off.hidden = !watched;
    this.off.setAttribute('aria-label', `Remove ${symbol} from the watch list`);
    if (!q && watched?.state === 'unknown') setText(this.meta, watched.reason || 'Unknown symbol');
    this.box.dataset['source'] = q?.info.source ?? '';
    const decimals = q ? decimalsOf(q) : 2;
    const set = (key: string, text: string | undefined) => {
      const dd = this.fact.get(key)!;
      dd.parentElement!.hidden = text === undefined;
      setText(dd, text ?? '');
    };
    set('Prev close', q?.info.previous_close === undefined ? undefined : format(q.info.previous_close, decimals));
    set('Day range', q?.high === undefined || q.low === undefined ? undefined : `${format(q.low, decimals)} – ${format(q.high, decimals)}`);
    set('Volume', q?.volume === undefined || q.volume === '0' ? undefined : compact(q.volume));
    set('Turnover', q?.turnover === undefined || q.turnover === '0' ? undefined : compact(q.turnover));
    this.container.setAttribute('aria-label', `Candle chart of ${name || symbol}, ${this.interval}. Arrow keys move it, plus and minus zoom, End leads to live.`);
    document.title = q ? `${priceText(q)} ${symbol} · Ticktape` : 'Ticktape';
    this.chart.mark(q?.info.source === 'simulated');
  }

  /** The state of the market as the exchange's hours tell it, else as the latest trade does. */
  private marketText(symbol: string): string {
    const q = this.app.market.quotes.get(symbol)!;
    const now = this.app.clock.serverNow();
    const late = q.info.delayed_by ? ` · delayed ${q.info.delayed_by} min` : '';
    const e = this.app.exchanges.get(q.info.exchange);
    if (e?.session === 'closed') return `Closed${e.next_open ? ` · ${openingText(e.next_open, now, q.info.exchange)}` : ''}${late}`;
    if (now - q.time > staleAfter) return `Latest trade ${age(now - q.time)} ago${late}`;
    return (e?.session === 'pre' ? markets.PRE : e?.session === 'post' ? markets.POST : e?.session === 'open' ? markets.REGULAR : markets[q.info.market_state]) + late;
  }

  /** Writes the legend: the candle that is pointed at, or else the newest. */
  private read(): void {
    const r = this.chart?.reading();
    this.legend.hidden = !r;
    if (!r) return;
    const { candle: c, index } = r;
    const decimals = decimalsFor(this.symbol, c.close);
    this.legend.dataset['sign'] = toNumber(c.close) >= toNumber(c.open) ? '1' : '-1';
    const set = (key: string, text: string) => setText(this.ohlc.get(key)!, text);
    set('time', this.chart.timeText(c.start));
    set('O', format(c.open, decimals));
    set('H', format(c.high, decimals));
    set('L', format(c.low, decimals));
    set('C', format(c.close, decimals));
    set('V', compact(c.volume));
    const { drawn } = this.chart;
    const compared = drawn.filter((d) => d.key === 'compare');
    const moved = compared.length > 0 ? this.chart.percentAt(index) : r.before ? (toNumber(c.close) / toNumber(r.before.close) - 1) * 100 : null;
    set('%', moved === null ? '' : `${signed(moved.toFixed(6), 2)} %`);
    this.chips(drawn);
    const texts = new Map<string, string[]>();
    for (const d of drawn) {
      const v = d.line[index] ?? null;
      const p = d.key === 'compare' ? this.chart.percentAt(index, d.line) : null;
      const text = d.key === 'compare' ? (p === null ? '–' : `${signed(p.toFixed(6), 2)} %`) : v === null ? '–' : d.key === 'rsi' ? v.toFixed(1) : format(v.toFixed(8), decimals);
      texts.set(chipOf(d), [...(texts.get(chipOf(d)) ?? []), text]);
    }
    let i = 0;
    for (const text of texts.values()) setText(this.lines.children[i++]!.querySelector('b')!, text.join(' · '));
  }

  /** Keeps one chip a line, and one for the three lines of bands. */
  private chips(drawn: Drawn[]): void {
    const key = drawn.map((d) => `${d.label} ${d.colour}`).join('|');
    if (this.lines.dataset['key'] === key) return;
    this.lines.dataset['key'] = key;
    this.lines.replaceChildren(
      ...drawn.filter((d) => chipOf(d) === d.label).map((d) => {
        const chip = element('span', 'chip');
        const dot = element('i');
        dot.style.color = d.colour;
        dot.classList.toggle('dashed', d.dashed);
        chip.append(dot, element('span', '', d.label), element('b'));
        if (d.key === 'compare') {
          const off = element('button', 'quiet chip-off');
          off.type = 'button';
          off.setAttribute('aria-label', `Compare with ${d.label} no more`);
          const cross = svgElement('svg', { viewBox: '0 0 12 12', 'aria-hidden': 'true' });
          cross.append(svgElement('path', { d: 'M2.5 2.5l7 7M9.5 2.5l-7 7' }));
          off.append(cross);
          off.addEventListener('click', () => this.setCompared(this.compared.split(',').filter((s) => s !== d.label)));
          chip.append(off);
        }
        return chip;
      }),
    );
  }

  private tell(n: ChartNote): void {
    this.note.hidden = n.kind === 'none';
    this.note.dataset['kind'] = n.kind;
    setText(this.noteText, 'text' in n ? n.text : n.kind === 'loading' ? 'Loading candles' : '');
    const followed = this.app.watch.get(this.symbol);
    this.noteAction.hidden = n.kind !== 'error' && n.kind !== 'warning' && !(n.kind === 'unknown' && !followed);
    setText(this.noteAction, n.kind === 'unknown' ? 'Back to the list' : 'Try again');
  }

  private build(): void {
    this.box.setAttribute('aria-labelledby', 'chart-title');
    this.title.id = 'chart-title';
    this.title.tabIndex = -1;
    this.title.append(this.symbolText, ' ', this.nameText);
    const sim = element('span', 'tag sim', 'SIMULATED');
    sim.title = 'Made-up prices, no real market';
    const back = element('a', 'back', '‹ List');
    back.href = '#/watch';
    back.addEventListener('click', (e) => {
      e.preventDefault();
      this.app.router.go({ symbol: '' });
    });
    const who = element('div', 'who');
    const first = element('div', 'who-line');
    first.append(back, this.title, sim);
    who.append(first, this.meta);
    this.arrow.setAttribute('aria-hidden', 'true');
    const moved = element('span', 'price-change');
    moved.append(this.arrow, this.change, this.percent);
    this.price.append(this.last, moved);
    for (const [key, id] of [['Prev close', 'fact-previous'], ['Day range', 'fact-range'], ['Volume', 'fact-volume'], ['Turnover', 'fact-turnover']] as const) {
      const dd = element('dd');
      dd.id = id;
      const div = element('div');
      div.append(element('dt', '', key), dd);
      this.fact.set(key, dd);
      this.facts.append(div);
    }
    this.last.id = 'price';
    const head = element('header', 'detail-head');
    // Where nothing hovers the rows have no button for it.
    this.off.type = 'button';
    this.off.addEventListener('click', () => {
      const { symbol } = this;
      this.app.router.go({ symbol: '' });
      this.remove(symbol);
    });
    head.append(who, this.facts, this.price, this.off);

    this.tools();

    const figures = element('p', 'legend-ohlc');
    for (const [key, title] of [['time', ''], ['O', 'Open'], ['H', 'High'], ['L', 'Low'], ['C', 'Close'], ['V', 'Volume'], ['%', 'From the candle before, or with symbols compared from the left edge']] as const) {
      const span = element('span', `legend-${key === '%' ? 'percent' : key.toLowerCase()}`);
      const b = element('b');
      b.id = `legend-${key === '%' ? 'percent' : key.toLowerCase()}`;
      if (key !== 'time' && key !== '%') {
        const abbr = element('abbr', '', key);
        abbr.title = title;
        span.append(abbr, ' ');
      } else if (title) span.title = title;
      span.append(b);
      this.ohlc.set(key, b);
      figures.append(span);
    }
    this.legend.id = 'legend';
    this.legend.append(figures, this.lines);
    this.legend.hidden = true;
    this.container.id = 'chart';
    this.container.setAttribute('role', 'img');
    this.container.tabIndex = 0;
    this.note.id = 'chart-note';
    this.noteAction.type = 'button';
    this.noteAction.addEventListener('click', () => (this.note.dataset['kind'] === 'unknown' ? this.app.router.go({ symbol: '' }) : this.reload()));
    this.note.append(this.noteText, this.noteAction);
    this.note.hidden = true;
    this.live.id = 'go-live';
    this.live.type = 'button';
    this.live.hidden = true;
    this.live.addEventListener('click', () => this.chart.goLive());
    const frame = element('div', 'chart-box');
    frame.append(this.container, this.legend, this.live, this.note);
    this.box.append(head, this.toolbar, frame);
  }

  private tools(): void {
    this.toolbar.setAttribute('role', 'group');
    this.toolbar.setAttribute('aria-label', 'Chart');
    const set = element('fieldset', 'segments');
    set.id = 'intervals';
    set.append(element('legend', 'hidden', 'Length of a candle'));
    for (const i of Object.keys(intervals)) {
      const label = element('label');
      const input = element('input');
      input.type = 'radio';
      input.name = 'interval';
      input.value = i;
      input.addEventListener('change', () => {
        this.app.settings.set({ interval: i });
        this.app.router.go({ params: { interval: i } }, true);
      });
      label.append(input, element('span', '', i));
      set.append(label);
    }
    const save = element('button', 'quiet', 'CSV');
    save.type = 'button';
    save.title = 'Save the candles within sight as CSV';
    save.addEventListener('click', () => saveCSV(this.source));
    this.toolbar.append(set, this.menu.button, this.comparing(), save);
  }

  private comparing(): HTMLElement {
    const button = element('button', '', 'Compare');
    button.type = 'button';
    button.id = 'compare-button';
    const form = element('form', 'add-form');
    form.setAttribute('aria-label', 'Compare in percent');
    const label = element('label', 'field', 'Compare with');
    const input = element('input');
    input.type = 'text';
    input.autocomplete = 'off';
    input.spellcheck = false;
    input.setAttribute('list', 'compare-symbols');
    const options = element('datalist');
    options.id = 'compare-symbols';
    label.append(input, options);
    const problem = element('p', 'problem');
    problem.setAttribute('role', 'alert');
    const submit = element('button', 'primary', 'Compare');
    form.append(label, element('p', 'hint', 'All are drawn in percent from the left edge.'), problem, submit);
    document.body.append(form);
    popup(button, form, () => {
      input.value = '';
      setText(problem, '');
      options.replaceChildren(...[...this.app.market.quotes.keys()].filter((s) => s !== this.symbol).sort().map((s) => Object.assign(element('option'), { value: s })));
    });
    form.addEventListener('submit', (e) => {
      e.preventDefault();
      const typed = input.value.trim();
      const symbol = [typed, typed.toUpperCase()].find((s) => this.app.market.quotes.has(s));
      const now = this.compared ? this.compared.split(',') : [];
      if (!symbol) setText(problem, typed ? `${typed} has no data here.` : 'Say with which symbol.');
      else if (symbol === this.symbol) setText(problem, 'That is the symbol itself.');
      else if (now.length >= mostCompared && !now.includes(symbol)) setText(problem, `${mostCompared} are compared at most.`);
      else {
        this.setCompared([...now, symbol]);
        form.hidePopover();
      }
    });
    return button;
  }

  /** Keys for the chart: arrows move it, + and − zoom, End leads to live. */
  key(e: KeyboardEvent): boolean {
    switch (e.key) {
      case 'ArrowLeft': this.chart.scroll(e.shiftKey ? -50 : -10); return true;
      case 'ArrowRight': this.chart.scroll(e.shiftKey ? 50 : 10); return true;
      case '+': case '=': this.chart.zoom(1.25); return true;
      case '-': this.chart.zoom(0.8); return true;
      case 'End': this.chart.goLive(); return true;
      default: return false;
    }
  }
}
