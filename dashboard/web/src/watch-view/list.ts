import type { App } from '../app';
import { compact, format, sign, toNumber } from '../decimal';
import { element, setText, svgElement } from '../dom';
import type { Quote } from '../market';
import { calm } from '../settings';
import { saveCSV, type TableSource } from '../table';
import { arrow, changeText, decimalsOf, percentText, priceText, zonedText } from '../text';
import { AddSymbol } from './add';
import { columns, nextOrder, parseOrder, place, rowState, sorted, titles, type Column, type Order, type RowState } from './rows';
import { Sparklines, path } from './sparklines';

const spark = { width: 84, height: 26, step: 300_000 };
const flashTime = 350; // ms that a change stays lit
const sparkPause = 1_000; // a trend needs no more than a drawing a second
const fewWrites = 12; // rows out of sight that a frame writes

interface Row {
  element: HTMLTableRowElement;
  link: HTMLAnchorElement;
  name: HTMLElement;
  late: HTMLElement;
  state: HTMLElement;
  line: SVGPathElement;
  base: SVGPathElement;
  dot: SVGCircleElement;
  wash: HTMLElement;
  last: HTMLElement;
  change: HTMLElement;
  arrow: HTMLElement;
  percent: HTMLElement;
  volume: HTMLElement;
  low: HTMLElement;
  high: HTMLElement;
  mark: HTMLElement;
  track: HTMLElement;
  kind: RowState | '';
  price: string;
  time: number;
  drawn: number;
  /** What the range's bar shows: where the mark is in percent, and both ends. */
  left: number;
  ends: string;
  /** Whether it is within sight, or nearly. */
  seen: boolean;
}

/** The watch list: a row is written when its symbol changes, once a frame at most. */
export class WatchList {
  readonly box = element('section', 'list');
  readonly source: TableSource;
  private readonly rows = new Map<string, Row>();
  private readonly lit = new Map<Row, number>(); // until when, in order
  private dimmer: ReturnType<typeof setTimeout> | undefined;
  private readonly due = new Set<string>(); // changed out of sight
  private readonly body = element('tbody');
  private readonly heads = new Map<Column, HTMLTableCellElement>();
  private readonly filter = element('input');
  private readonly count = element('span', 'list-count');
  private readonly scope = element('div', 'segments list-scope');
  private readonly empty = element('p', 'list-empty');
  private readonly sparklines: Sparklines;
  private readonly sight: IntersectionObserver;
  private readonly add: AddSymbol;
  private order: Order | null = null;
  private everything = false;
  private shown: string[] = [];
  private selected = '';

  constructor(
    private readonly app: App,
    readonly toolbar: HTMLElement,
  ) {
    this.sparklines = new Sparklines((symbols) => {
      for (const s of symbols) {
        const row = this.rows.get(s);
        if (row) row.drawn = 0;
      }
      app.draw(symbols);
    });
    this.add = new AddSymbol(app, (symbol) => this.reveal(symbol));
    const table = this.build();
    this.source = {
      title: () => 'Watch list',
      columns: () => ['Symbol', 'Name', 'Last', 'Change', 'Change %', 'Volume', 'Day low', 'Day high', 'Currency', 'Exchange', 'Latest trade', 'State', 'Source'],
      rows: () => this.shown.map((s) => this.plain(s)),
    };
    this.sight = new IntersectionObserver(
      (entries) => {
        for (const e of entries) {
          const row = this.rows.get((e.target as HTMLElement).dataset['symbol'] ?? '');
          if (!row) continue;
          row.seen = e.isIntersecting;
          if (row.seen) this.write(row.element.dataset['symbol']!, row);
        }
      },
      { root: table, rootMargin: '80px' },
    );
    app.watch.state.follow(() => this.arrange());
    app.exchanges.all.follow(() => this.second(app.clock.serverNow()));
    app.settings.zone.follow(() => this.all());
    app.onSnapshot(() => {
      void this.sparklines.load();
      this.arrange();
    });
    app.onUpdate((u) => this.sparklines.update(u));
    app.router.route.follow(() => this.follow());
  }

  /** Draws what changed. */
  frame(changed: ReadonlySet<string>): void {
    let others = false;
    for (const s of changed) {
      const row = this.rows.get(s);
      if (!row) others = true;
      else if (!this.app.market.quotes.has(s)) others = true;
      else this.show(s, row);
    }
    if (others) this.arrange();
    // Those out of sight are written too, for whoever reads the page otherwise, but a few at a time.
    let few = fewWrites;
    for (const s of this.due) {
      const row = this.rows.get(s);
      if (!row) this.due.delete(s);
      else if (!row.seen) {
        this.write(s, row);
        if (--few === 0) break;
      }
    }
  }

  /** Once a second: trends are drawn on, rows without a trade for long look it, and the order follows the numbers. */
  second(now: number): void {
    // What is still to be drawn comes into the set again.
    for (const s of [...this.due]) {
      const row = this.rows.get(s);
      if (row?.seen) this.write(s, row);
    }
    for (const [s, row] of this.rows) this.judge(s, row, now);
    if (this.order && this.order.by !== 'symbol') this.arrange();
  }

  /** Writes every row anew. */
  all(): void {
    for (const [s, row] of this.rows) {
      row.drawn = 0;
      this.write(s, row);
    }
    this.second(this.app.clock.serverNow());
  }

  select(symbol: string): void {
    if (symbol === this.selected) return;
    const before = this.rows.get(this.selected);
    before?.link.removeAttribute('aria-current');
    before?.element.classList.remove('selected');
    this.selected = symbol;
    this.mark();
  }

  /** The symbol that is shown where none is chosen. */
  first(): string {
    const known = this.shown.filter((s) => this.app.market.quotes.has(s));
    return known.includes('AAPL') ? 'AAPL' : (known[0] ?? this.shown[0] ?? '');
  }

  remove(symbol: string): void {
    void this.add.remove(symbol);
  }

  openAdd(): void {
    this.add.button.click();
  }

  focusFilter(): void {
    this.filter.focus();
  }

  private reveal(symbol: string): void {
    this.arrange();
    this.rows.get(symbol)?.element.scrollIntoView({ block: 'nearest' });
    this.app.open(symbol);
  }

  /** The symbols of the list: those followed, or, where that is asked for or no list is known, all that are shown. */
  private members(): string[] {
    const quotes = this.app.market.quotes;
    const state = this.app.watch.state.get();
    // Until the list is known nothing is drawn that would go again.
    if (state.kind === 'loading') return [];
    const followed = state.kind === 'ready' ? [...state.symbols.keys()] : [];
    const others = [...quotes.keys()].filter((s) => state.kind !== 'ready' || !state.symbols.has(s));
    this.scope.hidden = state.kind !== 'ready' || followed.length === 0 || others.length === 0;
    return this.everything || followed.length === 0 ? [...followed, ...others] : followed;
  }

  /** Puts the rows that belong there into their order. */
  private arrange(): void {
    const members = this.members();
    const query = this.filter.value.trim().toLowerCase();
    const fits = (s: string) => query === '' || s.toLowerCase().includes(query) || this.nameOf(s).toLowerCase().includes(query);
    let next = sorted(members.filter(fits), this.app.market.quotes, this.order);
    // A row that is pointed at stays where it is.
    if (this.body.matches(':hover') && next.length === this.shown.length && next.every((s) => this.rows.has(s))) next = this.shown;
    const wanted = new Set(next);
    for (const [s, row] of this.rows) {
      if (wanted.has(s)) continue;
      this.sight.unobserve(row.element);
      row.element.remove();
      this.rows.delete(s);
      this.due.delete(s);
    }
    const focused = document.activeElement;
    let at = this.body.firstElementChild;
    for (const s of next) {
      const row = this.rows.get(s) ?? this.make(s);
      if (row.element === at) at = at.nextElementSibling;
      else this.body.insertBefore(row.element, at);
    }
    if (focused instanceof HTMLElement && focused !== document.activeElement && this.body.contains(focused)) focused.focus({ preventScroll: true });
    this.shown = next;
    setText(this.count, query ? `${next.length} of ${members.length}` : String(members.length));
    const state = this.app.watch.state.get();
    this.empty.hidden = next.length > 0;
    setText(this.empty, query ? `No symbol matches “${this.filter.value.trim()}”.` : state.kind === 'loading' ? 'Loading the watch list' : 'No symbol yet. Add one above.');
    this.mark();
  }

  private show(symbol: string, row: Row): void {
    const q = this.app.market.quotes.get(symbol)!;
    if (!row.seen) {
      this.due.add(symbol);
      return;
    }
    if (row.time !== 0 && q.time !== row.time) this.flash(row, toNumber(q.price) - toNumber(row.price));
    this.write(symbol, row);
    if (row.kind !== 'live') this.judge(symbol, row, this.app.clock.serverNow());
  }

  private write(symbol: string, row: Row): void {
    this.due.delete(symbol);
    const q = this.app.market.quotes.get(symbol);
    if (!q) {
      for (const e of [row.last, row.change, row.percent, row.arrow, row.volume]) setText(e, e === row.last ? '–' : '');
      row.track.hidden = true;
      return;
    }
    const direction = sign(q.change);
    if (row.element.dataset['sign'] !== String(direction)) row.element.dataset['sign'] = String(direction);
    if (row.element.dataset['source'] !== q.info.source) row.element.dataset['source'] = q.info.source;
    setText(row.last, priceText(q));
    setText(row.change, changeText(q));
    setText(row.percent, percentText(q));
    setText(row.arrow, q.percent === undefined ? '' : arrow(direction));
    setText(row.volume, q.volume === undefined || q.volume === '0' ? '–' : compact(q.volume));
    const late = q.info.delayed_by ?? 0;
    row.late.hidden = late === 0;
    if (late > 0) setText(row.late, `${late}m`);
    this.range(q, row);
    row.price = q.price;
    row.time = q.time;
    this.outline(symbol, q, row);
  }

  private range(q: Quote, row: Row): void {
    const at = place(q);
    row.track.hidden = at === null;
    if (at === null) return;
    const left = Math.round(at * 100);
    if (left !== row.left) row.mark.style.left = `${(row.left = left)}%`;
    const ends = `${q.low} ${q.high}`;
    if (ends === row.ends) return;
    row.ends = ends;
    row.track.title = `Day’s range: ${format(q.low!, decimalsOf(q))} to ${format(q.high!, decimalsOf(q))}`;
    setText(row.low, format(q.low!, decimalsOf(q)));
    setText(row.high, format(q.high!, decimalsOf(q)));
  }

  private judge(symbol: string, row: Row, now: number): void {
    const q = this.app.market.quotes.get(symbol);
    const watched = this.app.watch.get(symbol);
    const [kind, text] = rowState(q, watched, this.app.exchanges.get(q?.info.exchange ?? ''), now);
    if (row.kind !== kind) row.element.dataset['state'] = row.kind = kind;
    setText(row.name, this.nameOf(symbol) || q?.info.exchange || '');
    setText(row.state, text);
    if (q && row.element.title !== '' && kind === 'live') row.element.title = '';
    if (kind === 'halted') row.element.title = 'Its exchange is open and others trade: this symbol may be halted.';
    else if (q && kind !== 'live') row.element.title = `Latest trade ${zonedText(q.time, 'full', q.info.exchange)}`;
    else if (watched?.reason) row.element.title = watched.reason;
  }

  private nameOf(symbol: string): string {
    return this.app.market.quotes.get(symbol)?.info.name || this.app.watch.nameOf(symbol);
  }

  private mark(): void {
    const row = this.rows.get(this.selected);
    row?.link.setAttribute('aria-current', 'true');
    row?.element.classList.add('selected');
  }

  private flash(row: Row, difference: number): void {
    if (calm()) return;
    row.wash.className = `wash ${difference > 0 ? 'up' : difference < 0 ? 'down' : 'even'}`;
    // It goes out at once rather than fading: the row is painted for its figures
    // anyway, while a fade is a layer of its own and work in every frame.
    this.lit.delete(row); // the oldest stand first
    this.lit.set(row, performance.now() + flashTime);
    this.dimmer ??= setTimeout(this.dim, flashTime);
  }

  private readonly dim = (): void => {
    const now = performance.now();
    this.dimmer = undefined;
    for (const [row, until] of this.lit) {
      if (until > now) {
        this.dimmer = setTimeout(this.dim, Math.max(until - now, flashTime / 4));
        return;
      }
      this.lit.delete(row);
      row.wash.className = 'wash';
    }
  };

  private outline(symbol: string, q: Quote, row: Row): void {
    if (!row.seen) return; // drawn when it comes into sight
    const now = performance.now();
    if (row.drawn !== 0 && now - row.drawn < sparkPause) {
      this.due.add(symbol);
      return;
    }
    const line = this.sparklines.get(symbol);
    const drawn = line && path(line, spark.step, spark.width, spark.height, q.info.previous_close === undefined ? undefined : toNumber(q.info.previous_close));
    if (!drawn) return;
    row.drawn = now;
    row.line.setAttribute('d', drawn.line);
    row.base.setAttribute('d', drawn.base === null ? '' : `M0 ${drawn.base}H${spark.width}`);
    row.dot.setAttribute('cx', String(drawn.x));
    row.dot.setAttribute('cy', String(drawn.y));
    row.dot.setAttribute('r', '1.8');
  }

  /** A row as plain text, for a table or a file. */
  private plain(symbol: string): string[] {
    const q = this.app.market.quotes.get(symbol);
    const [kind] = rowState(q, this.app.watch.get(symbol), this.app.exchanges.get(q?.info.exchange ?? ''), this.app.clock.serverNow());
    return [
      symbol, this.nameOf(symbol), q?.price ?? '', q?.change ?? '', q?.percent ?? '', q?.volume ?? '', q?.low ?? '', q?.high ?? '',
      q?.info.currency ?? '', q?.info.exchange ?? '', q ? new Date(q.time).toISOString() : '', kind, q?.info.source ?? '',
    ];
  }

  private make(symbol: string): Row {
    const tr = element('tr');
    tr.dataset['symbol'] = symbol;
    tr.setAttribute('role', 'row');
    const cell = (name: Column, ...parts: (Element | string)[]) => {
      const td = element(name === 'symbol' ? 'th' : 'td', `c-${name}`);
      td.setAttribute('role', name === 'symbol' ? 'rowheader' : 'cell');
      td.append(...parts);
      tr.append(td);
      return td;
    };
    const link = element('a', '', symbol);
    link.href = this.app.router.href({ view: 'watch', symbol });
    link.draggable = false;
    const late = element('span', 'tag late');
    late.title = 'Minutes by which its source’s data are delayed';
    late.hidden = true;
    const sim = element('span', 'tag sim', 'SIM');
    sim.title = 'Simulated, not a real price';
    const name = element('span', 'name');
    const state = element('span', 'row-state');
    const under = element('span', 'under');
    under.append(state, name);
    const remove = element('button', 'remove');
    remove.type = 'button';
    remove.tabIndex = -1;
    remove.title = `Remove ${symbol} (Delete)`;
    remove.setAttribute('aria-label', `Remove ${symbol} from the watch list`);
    const cross = svgElement('svg', { viewBox: '0 0 12 12', 'aria-hidden': 'true' });
    cross.append(svgElement('path', { d: 'M2.5 2.5l7 7M9.5 2.5l-7 7' }));
    remove.append(cross);
    const over = element('span', 'over');
    over.append(link, late, sim);
    cell('symbol', over, under, remove);

    const svg = svgElement('svg', { viewBox: `0 0 ${spark.width} ${spark.height}`, 'aria-hidden': 'true' });
    const base = svgElement('path', { class: 'base' });
    const line = svgElement('path', { class: 'line' });
    const dot = svgElement('circle', { class: 'dot', r: '0' });
    svg.append(base, line, dot);
    cell('trend', svg);
    const wash = element('i', 'wash');
    const last = element('span');
    cell('last', wash, last);
    const change = element('span');
    cell('change', change);
    const mark = element('span', 'arrow');
    mark.setAttribute('aria-hidden', 'true');
    const percent = element('span');
    cell('percent', mark, percent);
    const volume = element('span');
    cell('volume', volume);
    const low = element('span', 'low');
    const high = element('span', 'high');
    const bar = element('span', 'bar');
    const at = element('i');
    bar.append(at);
    const track = element('span', 'track');
    track.append(low, bar, high);
    cell('range', track);

    const row: Row = {
      element: tr, link, name, late, state, line, base, dot, wash, last, change, arrow: mark, percent, volume, low, high, mark: at, track,
      kind: '', price: '', time: 0, drawn: 0, left: -1, ends: '', seen: true,
    };
    this.rows.set(symbol, row);
    this.sight.observe(tr);
    this.write(symbol, row);
    this.judge(symbol, row, this.app.clock.serverNow());
    return row;
  }

  private build(): HTMLElement {
    this.box.setAttribute('aria-labelledby', 'list-title');
    const head = element('header', 'list-head');
    const title = element('h2', '', 'Watch list');
    title.id = 'list-title';
    this.filter.type = 'search';
    this.filter.id = 'filter';
    this.filter.placeholder = 'Filter  /';
    this.filter.autocomplete = 'off';
    this.filter.spellcheck = false;
    this.filter.setAttribute('aria-label', 'Filter symbols');
    this.filter.addEventListener('input', () => this.app.router.go({ params: { filter: this.filter.value.trim() } }, true));
    this.filter.addEventListener('keydown', (e) => {
      if (e.key !== 'Escape') return;
      this.filter.value = '';
      this.app.router.go({ params: { filter: '' } }, true);
      this.filter.blur();
    });
    for (const [value, label] of [['', 'Mine'], ['all', 'All']] as const) {
      const l = element('label');
      const input = element('input');
      input.type = 'radio';
      input.name = 'scope';
      input.value = value;
      input.addEventListener('change', () => this.app.router.go({ params: { scope: value } }, true));
      l.append(input, element('span', '', label));
      this.scope.append(l);
    }
    this.scope.setAttribute('role', 'group');
    this.scope.setAttribute('aria-label', 'Which symbols');
    const save = element('button', 'quiet', 'CSV');
    save.type = 'button';
    save.title = 'Save the list as it is shown as CSV';
    save.addEventListener('click', () => saveCSV(this.source));
    this.toolbar.classList.add('list-tools');
    this.toolbar.append(save);
    head.append(title, this.count, this.scope, this.filter, this.add.button, this.toolbar);

    const table = element('table', 'rows');
    table.setAttribute('role', 'table');
    table.setAttribute('aria-labelledby', 'list-title');
    const thead = element('thead');
    thead.setAttribute('role', 'rowgroup');
    const tr = element('tr');
    tr.setAttribute('role', 'row');
    for (const c of columns) {
      const th = element('th', `c-${c}`);
      th.scope = 'col';
      th.setAttribute('role', 'columnheader');
      const button = element('button', '', titles[c]);
      button.type = 'button';
      button.addEventListener('click', () => {
        const next = nextOrder(this.order, c);
        this.app.router.go({ params: { sort: next ? (next.down ? '-' : '') + next.by : '' } }, true);
      });
      th.append(button);
      this.heads.set(c, th);
      tr.append(th);
    }
    thead.append(tr);
    this.body.id = 'rows';
    this.body.setAttribute('role', 'rowgroup');
    this.body.addEventListener('click', (e) => this.press(e));
    this.body.addEventListener('keydown', (e) => this.keys(e));
    table.append(thead, this.body);
    const scroller = element('div', 'list-body');
    scroller.append(table, this.empty);
    this.box.append(head, this.add.note, scroller);
    return scroller;
  }

  /** Follows what the address says of the list. */
  private follow(): void {
    if (this.app.router.get().view !== 'watch') return;
    const order = parseOrder(this.app.router.param('sort'));
    const filter = this.app.router.param('filter');
    const everything = this.app.router.param('scope') === 'all';
    if (document.activeElement !== this.filter || filter === '') this.filter.value = filter;
    this.order = order;
    this.everything = everything;
    for (const input of this.scope.querySelectorAll('input')) input.checked = (input.value === 'all') === everything;
    for (const [c, th] of this.heads) {
      if (order?.by === c) th.setAttribute('aria-sort', order.down ? 'descending' : 'ascending');
      else th.removeAttribute('aria-sort');
    }
    for (const [s, row] of this.rows) row.link.href = this.app.router.href({ view: 'watch', symbol: s });
    this.arrange();
  }

  private press(e: MouseEvent): void {
    const target = e.target as Element;
    const symbol = target.closest('tr')?.dataset['symbol'];
    if (!symbol || e.ctrlKey || e.metaKey || e.shiftKey) return;
    e.preventDefault();
    if (target.closest('.remove')) void this.add.remove(symbol);
    else this.app.router.go({ view: 'watch', symbol });
  }

  private keys(e: KeyboardEvent): void {
    if (e.altKey || e.ctrlKey || e.metaKey) return;
    const at = this.shown.findIndex((s) => this.rows.get(s)?.element.contains(document.activeElement));
    if (at < 0) return;
    if (e.key === 'Delete') {
      e.preventDefault();
      const symbol = this.shown[at]!;
      const next = this.shown[at + 1] ?? this.shown[at - 1];
      void this.add.remove(symbol).then(() => next && this.rows.get(next)?.link.focus());
      return;
    }
    const page = Math.max(1, Math.floor(this.body.parentElement!.parentElement!.clientHeight / this.rows.get(this.shown[at]!)!.element.offsetHeight) - 1);
    const last = this.shown.length - 1;
    const to = { ArrowDown: at + 1, j: at + 1, ArrowUp: at - 1, k: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: last }[e.key];
    if (to === undefined) return;
    e.preventDefault();
    const symbol = this.shown[Math.max(0, Math.min(last, to))]!;
    const row = this.rows.get(symbol)!;
    row.link.focus({ preventScroll: true });
    row.element.scrollIntoView({ block: 'nearest' });
    this.app.router.go({ view: 'watch', symbol }, true);
  }
}
