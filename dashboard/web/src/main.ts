import './style.css';

import { isInterval, type Interval } from './candles';
import { ChartView, type ChartNote } from './chart';
import { sign } from './decimal';
import { byId, setText } from './dom';
import { Market, type Quote } from './market';
import { nameOf } from './names';
import { PulseView } from './pulse';
import { Stream } from './stream';
import { StatusView } from './status';
import { Tape } from './tape';
import { age, arrow, changeText, markets, percentText, priceText } from './text';
import { WatchList, staleAfter } from './watchlist';
import type { Message, QuoteUpdate } from './wire';

const market = new Market();
const dirty = new Set<string>();
let symbol = '';
let interval: Interval = '1m';
let frame = 0;
let chartEpoch = '';

const status = new StatusView(() => stream.connect());
const pulse = new PulseView();
const tape = new Tape(byId('tape'));
const list = new WatchList(byId<HTMLTableSectionElement>('rows'), byId('no-match'), choose);
const chart = new ChartView(
  byId('chart'),
  {
    box: byId('legend'), time: byId('legend-time'), open: byId('legend-open'), high: byId('legend-high'),
    low: byId('legend-low'), close: byId('legend-close'), volume: byId('legend-volume'),
  },
  chartNote,
  byId<HTMLButtonElement>('go-live'),
);

const stream = new Stream({
  message: receive,
  state: (s) => {
    status.connection(s);
    status.show();
  },
  place: () => market.place(),
});

function receive(m: Message): void {
  switch (m.type) {
    case 'snapshot':
      market.reset(m);
      for (const s of list.symbols) if (!market.quotes.has(s)) list.remove(s);
      for (const s of market.quotes.keys()) dirty.add(s);
      list.filter(byId<HTMLInputElement>('filter').value);
      choose(symbol || fromHash() || (market.quotes.has('AAPL') ? 'AAPL' : (m.quotes[0]?.symbol ?? '')));
      // Its windows may have moved on unseen, and another epoch's revisions mean nothing.
      if (symbol && chartEpoch !== '') chart.open(symbol, interval, market.quotes.get(symbol)?.price);
      chartEpoch = m.epoch;
      break;
    case 'delta':
      if (!market.advance(m)) {
        stream.resync();
        return;
      }
      for (const q of m.quotes) {
        dirty.add(q.symbol);
        chart.update(q.symbol, q.windows);
        tell(q);
      }
      if (!symbol) choose(fromHash() || m.quotes[0]?.symbol || '');
      break;
    case 'pulse':
      pulse.show(m);
      status.pulse(m);
      break;
  }
  if (!frame) frame = requestAnimationFrame(draw);
}

function tell(u: QuoteUpdate): void {
  const q = market.quotes.get(u.symbol);
  if (!q) return;
  tape.print(q);
  pulse.arrived(u.received);
}

function draw(): void {
  frame = 0;
  for (const s of dirty) {
    const q = market.quotes.get(s);
    if (q) list.show(q);
  }
  if (dirty.has(symbol)) head();
  if (dirty.size > 0) pulse.drawn();
  dirty.clear();
  status.symbols(market.quotes.size);
  status.show();
}

/** Writes the head of the chart. */
function head(): void {
  const q = market.quotes.get(symbol);
  setText(byId('symbol'), symbol);
  setText(byId('name'), nameOf(symbol));
  const direction = sign(q?.change);
  byId('price-box').dataset['sign'] = String(direction);
  setText(byId('price'), q ? priceText(q) : '');
  setText(byId('price-arrow'), q && q.change !== undefined ? arrow(direction) : '');
  setText(byId('price-change'), q ? changeText(q) : '');
  setText(byId('price-percent'), q ? percentText(q) : '');
  setText(byId('meta'), q ? [q.info.exchange, q.info.currency, marketText(q)].filter(Boolean).join(' · ') : '');
  byId('chart').setAttribute('aria-label', `Candle chart of ${nameOf(symbol) || symbol}, ${interval}`);
  document.title = q ? `${priceText(q)} ${symbol} · Ticktape` : 'Ticktape';
  chart.mark(q?.info.source === 'simulated');
}

/** A state of the market is of its last trade, so it is worth telling while that is new. */
function marketText(q: Quote): string {
  const old = pulse.serverNow() - q.time;
  return old > staleAfter && q.info.market_state !== 'CLOSED' ? `Last trade ${age(old)} ago` : markets[q.info.market_state];
}

function choose(next: string): void {
  if (!next || next === symbol) return;
  symbol = next;
  list.select(symbol);
  head();
  chart.open(symbol, interval, market.quotes.get(symbol)?.price);
  const hash = '#' + encodeURIComponent(symbol);
  if (location.hash !== hash) history.replaceState(null, '', hash);
}

function fromHash(): string {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return '';
  }
}

function chartNote(n: ChartNote): void {
  const box = byId('chart-note');
  box.hidden = n.kind === 'none';
  box.dataset['kind'] = n.kind;
  setText(box, n.kind === 'none' ? '' : n.kind === 'loading' ? 'Loading candles' : n.text);
}

addEventListener('hashchange', () => choose(fromHash()));

byId('intervals').addEventListener('change', (e) => {
  const value = (e.target as HTMLInputElement).value;
  if (isInterval(value)) {
    interval = value;
    chart.open(symbol, interval, market.quotes.get(symbol)?.price);
    head();
  }
});

const filter = byId<HTMLInputElement>('filter');
filter.addEventListener('input', () => list.filter(filter.value));

addEventListener('keydown', (e) => {
  if (e.altKey || e.ctrlKey || e.metaKey) return;
  const typing = e.target instanceof HTMLInputElement && e.target.type === 'search';
  if (e.key === 'Escape' && typing) {
    filter.value = '';
    list.filter('');
    filter.blur();
  } else if (!typing && e.key === '/') {
    e.preventDefault();
    filter.focus();
  } else if (!typing && /^[1-5]$/.test(e.key)) {
    document.querySelectorAll<HTMLInputElement>('#intervals input')[Number(e.key) - 1]?.click();
  }
});

setInterval(() => {
  list.second(pulse.serverNow(), market.quotes);
  if (symbol) head();
  status.tick();
}, 1_000);

// A day's candle closes with its day, which the stream's minutes don't tell.
setInterval(() => {
  if (interval === '1d' && symbol && document.visibilityState === 'visible') chart.open(symbol, interval, market.quotes.get(symbol)?.price);
}, 60_000);

stream.connect();
