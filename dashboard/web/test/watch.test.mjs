// Tests of what the watch view computes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './load.mjs';

// A small generator with a seed, so that a failure can be made again.
function walk(seed, n) {
  let s = seed >>> 0;
  const next = () => (s = (Math.imul(s, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  let price = 100;
  return Array.from({ length: n }, (_, i) => {
    const open = price;
    price *= 1 + (next() - 0.5) / 50;
    const volume = Math.floor(next() * 1000);
    return { time: i * 60_000, open, high: Math.max(open, price) + next(), low: Math.min(open, price) - next(), close: price, volume, turnover: next() < 0.5 ? volume * price : undefined };
  });
}
const bars = (...closes) => closes.map((close, i) => ({ time: i * 60_000, open: close, high: close, low: close, close, volume: 1, turnover: undefined }));
const rounded = (line, places) => line.map((v) => (v === null ? null : Number(v.toFixed(places))));

test('averages and bands of a small series are what they are by hand', async () => {
  const { Sma, Ema, Bollinger } = await load('indicators');
  const b = bars(1, 2, 3, 6, 9);
  const run = (i) => (i.update(b, 0), i.lines.map((l) => rounded(l, 6)));
  assert.deepEqual(run(new Sma(3)), [[null, null, 2, 3.666667, 6]]);
  assert.deepEqual(run(new Ema(3)), [[null, null, 2, 4, 6.5]]);
  const deviation = Math.sqrt(2 / 3);
  assert.deepEqual(run(new Bollinger(3, 2)).map((l) => l[2]), [2, 2 + 2 * deviation, 2 - 2 * deviation].map((v) => Number(v.toFixed(6))));
});

test('the RSI is Wilder’s: plain means first, then smoothed', async () => {
  const { Rsi } = await load('indicators');
  const rsi = new Rsi(2);
  rsi.update(bars(10, 12, 11, 14, 14), 0);
  // Gains 2, 0 and losses 0, 1 over two changes: means 1 and 0.5; then (1+3)/2 and 0.25; then 1 and 0.125.
  assert.deepEqual(rounded(rsi.lines[0], 4), [null, null, 66.6667, 88.8889, 88.8889]);
  const flat = new Rsi(2);
  flat.update(bars(5, 5, 5), 0);
  assert.equal(flat.lines[0][2], 50, 'nothing moved');
});

test('VWAP is turnover over volume since the day began', async () => {
  const { Vwap } = await load('indicators');
  let whole = true;
  const vwap = new Vwap((ms) => Math.floor(ms / 120_000), () => whole); // days of two minutes
  const bar = (i, price, volume, turnover) => ({ time: i * 60_000, open: price, high: price, low: price, close: price, volume, turnover });
  const list = [bar(0, 10, 2, 21), bar(1, 20, 1, undefined), bar(2, 50, 4, 200), bar(3, 1, 0, 0)];
  vwap.update(list, 0);
  assert.deepEqual(rounded(vwap.lines[0], 6), [10.5, 13.666667, 50, 50]);
  assert.deepEqual(list.map((_, i) => vwap.endsAt(list, i)), [false, true, false, false], 'no line leads from a day to the next');
  whole = false;
  vwap.update(list, 0);
  assert.deepEqual(rounded(vwap.lines[0], 6), [null, null, 50, 50], 'of a day whose beginning is not known it tells nothing');
});

test('indicators brought up to date tick by tick are those computed at once, late ticks too', async () => {
  const { Sma, Ema, Bollinger, Rsi, Vwap } = await load('indicators');
  const make = () => [new Sma(5), new Sma(20), new Ema(9), new Bollinger(20, 2), new Rsi(14), new Vwap((ms) => Math.floor(ms / 3_600_000), () => true)];
  const all = walk(3, 120);
  const live = make();
  const seen = [];
  all.forEach((bar, i) => {
    // An open bar that moves before it closes.
    for (const share of [0.3, 1]) {
      seen[i] = { ...bar, close: bar.open + (bar.close - bar.open) * share };
      for (const x of live) x.update(seen, i);
    }
    if (i % 17 === 16) {
      const late = i - (i % 5);
      seen[late] = { ...seen[late], close: seen[late].close * 1.01, turnover: undefined };
      for (const x of live) x.update(seen, late);
    }
  });
  const whole = make();
  for (const x of whole) x.update(seen, 0);
  live.forEach((x, i) => assert.deepEqual(x.lines, whole[i].lines, x.constructor.name));
});

test('what an address says of indicators is read, and what it can’t mean is left out', async () => {
  const { parseChosen, formatChosen } = await load('indicators');
  for (const [text, want] of [
    ['volume,vwap,sma:20:50,ema:21,bb:20:2,rsi:14', 'volume,vwap,sma:20:50,ema:21,bb:20:2,rsi:14'],
    ['none', ''], ['sma:1:0.5:20:20:9999', 'sma:20'], ['bb', 'bb:20:2'], ['bb:5:99', 'bb:5:2'], ['rsi:x', 'rsi:14'], ['<b>,sma', ''],
  ]) assert.equal(formatChosen(parseChosen(text)), want, text);
});

test('an address is read and written', async () => {
  const { parse, format } = await load('router');
  for (const [hash, view, symbol, params] of [
    ['', 'watch', '', {}], ['#AAPL', 'watch', 'AAPL', {}], ['#%5EGSPC', 'watch', '^GSPC', {}], ['#/market', 'market', '', {}],
    ['#/watch/EURUSD%3DX?interval=5m&with=sma:20,rsi:14', 'watch', 'EURUSD=X', { interval: '5m', with: 'sma:20,rsi:14' }], ['#/watch/%E0%A4%A', 'watch', '', {}],
  ]) assert.deepEqual(parse(hash, 'watch'), { view, symbol, params }, hash);
  const route = { view: 'watch', symbol: '^GSPC', params: { with: 'sma:20:50,vwap', filter: 'a b&c', sort: '' } };
  assert.equal(format(route), '#/watch/%5EGSPC?with=sma:20:50,vwap&filter=a+b%26c');
  assert.deepEqual(parse(format(route), 'x').params, { with: 'sma:20:50,vwap', filter: 'a b&c' });
});

const quote = (symbol, more) => ({ symbol, price: '1', time: 0, info: { exchange: 'NMS', market_state: 'REGULAR' }, ...more });

test('symbols are sorted by any column, and those without a figure come last either way', async () => {
  const { sorted, nextOrder } = await load('watch-view/rows');
  const quotes = new Map([['A', quote('A', { percent: '-1' })], ['B', quote('B', { percent: '2.5' })], ['C', quote('C', {})], ['D', quote('D', { percent: '10' })]]);
  const order = (by, down) => sorted([...quotes.keys()], quotes, by && { by, down }).join('');
  assert.deepEqual([order(null), order('symbol', true), order('percent', true), order('percent', false)], ['ABCD', 'DCBA', 'DBAC', 'ABDC']);
  const first = nextOrder(null, 'volume');
  assert.deepEqual([first, nextOrder(first, 'volume'), nextOrder(nextOrder(first, 'volume'), 'volume')], [{ by: 'volume', down: true }, { by: 'volume', down: false }, null]);
});

test('a row says how its symbol is doing', async () => {
  const { rowState, place } = await load('watch-view/rows');
  const q = quote('A', {});
  const open = { session: 'open', known_by: 'trades' };
  const minutes = (n) => n * 60_000;
  assert.deepEqual(rowState(q, undefined, open, minutes(1)), ['live', '']);
  assert.deepEqual(rowState(q, undefined, open, minutes(4)), ['stale', '4 min ago']);
  assert.deepEqual(rowState(q, undefined, open, minutes(12)), ['halted', 'No trade 12 min']);
  assert.deepEqual(rowState(q, undefined, { session: 'open', known_by: 'hours' }, minutes(12)), ['stale', '12 min ago'], 'none of its exchange trades');
  assert.deepEqual(rowState(q, undefined, { session: 'closed' }, minutes(300)), ['closed', 'Closed']);
  assert.deepEqual(rowState(undefined, { state: 'active' }, undefined, 0), ['none', 'No data yet']);
  assert.deepEqual(rowState(undefined, { state: 'unknown', reason: 'Not Found' }, undefined, 0), ['unknown', 'Not Found']);
  assert.deepEqual([place(q), place(quote('A', { low: '0', high: '4' })), place(quote('A', { low: '1', high: '1' })), place(quote('A', { low: '2', high: '3' }))], [null, 0.25, 0.5, 0]);
});

test('a sparkline spans its day, and what did not trade is bridged', async () => {
  const { path } = await load('watch-view/sparklines');
  const closes = [];
  closes[2] = 1;
  closes[3] = 3;
  closes[6] = 2;
  const drawn = path({ start: 0, end: 8 * 60_000, closes }, 60_000, 84, 23, undefined);
  assert.equal(drawn.line, 'M1 21.5L21 1.5L81 11.5');
  assert.deepEqual([drawn.x, drawn.y, drawn.base], [81, 11.5, null]);
  assert.equal(path({ start: 0, end: 60_000, closes: [5] }, 60_000, 84, 23, undefined), null, 'one point is no line');
});

test('sessions of New York are told by its own clock, in summer and in winter', async () => {
  const { sessionAt } = await load('sessions');
  const at = (text) => sessionAt('NMS', Date.parse(text));
  assert.deepEqual([at('2026-01-15T08:59Z'), at('2026-01-15T09:00Z'), at('2026-01-15T14:30Z'), at('2026-01-15T21:00Z'), at('2026-01-16T01:00Z')], [null, 'pre', 'regular', 'post', null]);
  assert.deepEqual([at('2026-07-15T08:00Z'), at('2026-07-15T13:29Z'), at('2026-07-15T13:30Z'), at('2026-07-15T20:00Z')], ['pre', 'pre', 'regular', 'post']);
  assert.equal(sessionAt('CCC', Date.parse('2026-01-15T09:00Z')), null, 'a market that never closes');
});

test('a zone’s clock is followed over its changes', async () => {
  const { offsetAt, dayIn } = await load('zone-offset');
  const hours = (zone, text) => offsetAt(zone, Date.parse(text)) / 3_600_000;
  assert.deepEqual([hours('America/New_York', '2026-03-08T06:59Z'), hours('America/New_York', '2026-03-08T07:00Z'), hours('America/New_York', '2026-11-01T05:59Z'), hours('America/New_York', '2026-11-01T06:00Z')], [-5, -4, -4, -5]);
  assert.deepEqual([hours('UTC', '2026-03-08T07:00Z'), hours('Asia/Kolkata', '2026-03-08T07:00Z')], [0, 5.5]);
  assert.equal(dayIn('America/New_York', Date.parse('2026-01-02T04:59Z')), Date.parse('2026-01-01T00:00Z') / 86_400_000);
});

test('CSV quotes what it must and runs no formulas', async () => {
  const { csv } = await load('table');
  const source = { title: () => 't', columns: () => ['Symbol', 'Name'], rows: () => [['^GSPC', 'S&P "500", index'], ['=1+1', '-0.5'], ['-x', '+1']] };
  assert.equal(csv(source), 'Symbol,Name\r\n^GSPC,"S&P ""500"", index"\r\n\'=1+1,-0.5\r\n\'-x,\'+1\r\n');
});

const candle = (minute, open, close, more) => ({ start: minute * 60_000, open, high: close, low: open, close, volume: '10', ticks: 1, sealed: true, ...more });
const win = (minute, price, volume, rev, turnover) => ({ start: minute * 60_000, open: price, high: price, low: price, close: price, volume, ticks: 1, rev, ...(turnover ? { turnover } : {}) });

test('the newest page told again replaces what it tells, and older pages stay', async () => {
  const { Candles } = await load('candles');
  const c = new Candles({ epoch: 'e', seq: 9, candles: [candle(5, '1', '2')], windows: [win(6, '3', '4', 8)] }, '1m');
  c.prepend([candle(1, '7', '8')]);
  c.take({ epoch: 'f', seq: 2, candles: [candle(5, '1', '9'), candle(6, '3', '3', { volume: '5' })], windows: [win(6, '3', '5', 1), win(7, '4', '1', 2)] });
  assert.deepEqual(c.all().map((x) => [x.start / 60_000, x.close, x.volume]), [[1, '8', '10'], [5, '9', '10'], [6, '3', '5'], [7, '4', '1']]);
});

test('turnover is added up exactly, and is unknown where a part of it is', async () => {
  const { Candles } = await load('candles');
  const of = (...windows) => new Candles({ epoch: 'e', seq: 9, candles: [], windows }, '5m').all()[0].turnover;
  assert.equal(of(win(5, '1', '1', 1, '12345678901234567.25'), win(6, '1', '1', 1, '0.5')), '12345678901234567.75');
  assert.equal(of(win(5, '1', '1', 1, '10'), win(6, '1', '1', 1, '20')), '30');
  assert.equal(of(win(5, '1', '1', 1, '1'), win(6, '1', '1', 1)), undefined);
});
