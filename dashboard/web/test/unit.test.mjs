// Tests of the page's own arithmetic and state, through Vite as the page is built.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createServer } from 'vite';

let vite;
let load;
before(async () => {
  vite = await createServer({ configFile: false, server: { middlewareMode: true, hmr: false, watch: null }, appType: 'custom', logLevel: 'error', optimizeDeps: { noDiscovery: true } });
  load = (name) => vite.ssrLoadModule(`/src/${name}.ts`);
});
after(() => vite.close());

test('prices are rounded and grouped without passing through floats', async () => {
  const { format, units, sign, decimalsFor, compact } = await load('decimal');
  for (const [text, decimals, want] of [
    ['187.44', 2, '187.44'], ['-0.005', 2, '−0.01'], ['-0.004', 2, '0.00'], ['0', 2, '0.00'], ['1234567.891', 2, '1,234,567.89'],
    ['92233720368.54775807', 8, '92,233,720,368.54775807'], ['1.08231', 5, '1.08231'], ['0.00001234', 8, '0.00001234'], ['3', 0, '3'], ['999.995', 2, '1,000.00'],
  ]) assert.equal(format(text, decimals), want, `${text} with ${decimals}`);
  assert.equal(units('-92233720368.54775808'), -(2n ** 63n));
  assert.deepEqual(['0', '0.00', '-0.00', '-0.01', '5', undefined].map(sign), [0, 0, 0, -1, 1, 0]);
  assert.deepEqual([['EURUSD=X', '1.08'], ['JPY=X', '151.2'], ['AAPL', '187'], ['PENNY', '0.5'], ['SHIB-USD', '0.000012']].map(([s, p]) => decimalsFor(s, p)), [5, 3, 2, 4, 8]);
  assert.deepEqual(['0', '999', '1000', '12345', '999999', '4560000', '7100000000000'].map(compact), ['0', '999', '1.00K', '12.3K', '1.00M', '4.56M', '7.10T']);
});

const quote = (symbol, price, windows = [], more = {}) => ({ symbol, price, time: 1, received: 1, windows, ...more });

test('deltas that lead on from the snapshot are taken, and a gap is noticed', async () => {
  const { Market } = await load('market');
  const m = new Market();
  assert.equal(m.advance({ type: 'delta', epoch: 'e', from: 1, seq: 2, quotes: [] }), false, 'before a snapshot');
  m.reset({ type: 'snapshot', epoch: 'e', seq: 5, quotes: [quote('A', '1', [], { spark: [[0, '1']] }), quote('B', '1')] });
  assert.equal(m.advance({ type: 'delta', epoch: 'e', from: 5, seq: 9, quotes: [quote('A', '2', [{ start: 60000, close: '2' }])] }), true);
  assert.equal(m.quotes.get('A').price, '2');
  assert.deepEqual(m.quotes.get('A').spark, [[0, '1'], [60000, '2']]);
  assert.equal(m.advance({ type: 'delta', epoch: 'e', from: 4, seq: 9, quotes: [], removed: ['B'] }), true, 'one that begins earlier does no harm');
  assert.equal(m.quotes.has('B'), false, 'what is not shown any more is gone');
  assert.equal(m.advance({ type: 'delta', epoch: 'e', from: 10, seq: 11, quotes: [] }), false, 'a delta was missed');
  assert.equal(m.place(), null, 'the place is not known any more');
  m.reset({ type: 'snapshot', epoch: 'f', seq: 2, quotes: [quote('B', '3')] });
  assert.deepEqual([...m.quotes.keys()], ['B']);
  assert.equal(m.advance({ type: 'delta', epoch: 'e', from: 2, seq: 3, quotes: [] }), false, 'of another service');
});

const win = (minute, open, high, low, close, volume, rev = 1) => ({ start: minute * 60_000, open, high, low, close, volume, ticks: 1, rev });
const candle = (minute, open, high, low, close, volume, sealed) => ({ start: minute * 60_000, open, high, low, close, volume, ticks: 1, sealed });

test('candles are added up from windows, exactly', async () => {
  const { Candles } = await load('candles');
  const c = new Candles({ epoch: 'e', seq: 9, candles: [candle(0, '5', '6', '4', '5', '100', true)], windows: [win(5, '1.1', '3.3', '1.0', '2', '9007199254740993'), win(6, '2', '2.5', '0.9', '2.4', '2')] }, '5m');
  assert.deepEqual(c.candle(5 * 60_000), { start: 300_000, open: '1.1', high: '3.3', low: '0.9', close: '2.4', volume: '9007199254740995', ticks: 2 });
  assert.equal(c.all().length, 2);
  assert.deepEqual(c.update([win(6, '2', '9', '0.9', '8', '3', 10), win(10, '8', '8', '8', '8', '1', 10)]), [300_000, 600_000]);
  assert.equal(c.candle(300_000).high, '9');
  assert.deepEqual(c.update([win(6, '2', '2', '2', '2', '1', 4)]), [], 'an older revision changes nothing');
});

test('a candle of which only the end is at hand keeps its stored beginning', async () => {
  const { Candles } = await load('candles');
  const c = new Candles({ epoch: 'e', seq: 9, candles: [candle(0, '5', '7', '4', '6', '100', false)], windows: [win(58, '6', '6', '6', '6', '10'), win(59, '6', '6.5', '6', '6', '20')] }, '1h');
  assert.deepEqual(c.candle(0), { start: 0, open: '5', high: '7', low: '4', close: '6', volume: '100', ticks: 2 });
  c.update([win(59, '6', '8', '3', '3', '25', 10)]);
  assert.deepEqual(c.candle(0), { start: 0, open: '5', high: '8', low: '3', close: '3', volume: '105', ticks: 2 });
});

test('what was sealed and audited stands until something newer comes', async () => {
  const { Candles } = await load('candles');
  const c = new Candles({ epoch: 'e', seq: 9, candles: [candle(5, '1', '1', '1', '1', '7', true)], windows: [win(5, '2', '2', '2', '2', '8')] }, '1m');
  assert.equal(c.candle(300_000).volume, '7');
  c.update([win(5, '2', '2', '2', '2', '9', 10)]);
  assert.equal(c.candle(300_000).volume, '9');
});

test('older candles go before those that are there', async () => {
  const { Candles } = await load('candles');
  const c = new Candles({ epoch: 'e', seq: 9, candles: [candle(5, '1', '1', '1', '1', '7', true)], windows: [] }, '1m');
  assert.equal(c.prepend([candle(4, '1', '1', '1', '1', '7', true), candle(5, '9', '9', '9', '9', '9', true)]), true);
  assert.equal(c.prepend([candle(4, '1', '1', '1', '1', '7', true)]), false);
  assert.deepEqual(c.all().map((x) => x.open), ['1', '1']);
});

test('a day begins where its exchange says', async () => {
  const { Candles } = await load('candles');
  const hour = 60;
  const day = (n) => ({ ...candle(0, '1', '9', '1', '5', '100', true), start: (n * 24 + 5) * hour * 60_000 });
  const answer = {
    epoch: 'e', seq: 9, candles: [day(0), day(1)], day: { start: day(2).start, end: day(3).start },
    windows: [win((24 + 10) * hour, '5', '5', '5', '5', '3'), win((48 + 15) * hour, '6', '7', '6', '7', '10')],
  };
  const c = new Candles(answer, '1d');
  assert.deepEqual(c.all().map((x) => x.start), [day(0), day(1), day(2)].map((x) => x.start));
  assert.deepEqual(c.all().map((x) => x.close), ['5', '5', '7']);
  assert.deepEqual(c.update([win((48 + 16) * hour, '8', '8', '8', '8', '1', 10), win((72 + 6) * hour, '9', '9', '9', '9', '1', 10)]), [day(2).start, day(3).start]);
  assert.equal(c.candle(day(2).start).volume, '11');
});
