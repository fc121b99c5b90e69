// Tests of what the market and pipeline views compute.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { load } from './load.mjs';

// A small generator with a seed, so that a failure can be made again.
function random(seed) {
  let s = seed >>> 0;
  return () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return s / 2 ** 32;
  };
}
const near = (a, b, within, what) => assert.ok(Math.abs(a - b) <= within, `${what}: ${a}, not ${b}`);

test('the treemap of the paper by Bruls, Huizing and van Wijk', async () => {
  const { squarify } = await load('market-view/squarify');
  const rects = squarify([6, 6, 4, 3, 2, 2, 1], { x: 0, y: 0, width: 6, height: 4 });
  const round = (r) => [r.x, r.y, r.width, r.height].map((v) => Math.round(v * 100) / 100);
  assert.deepEqual(rects.slice(0, 4).map(round), [[0, 0, 3, 2], [0, 2, 3, 2], [3, 0, 1.71, 2.33], [4.71, 0, 1.29, 2.33]]);
});

test('whatever the weights, tiles have their share of the area, fill the box and do not overlap', async () => {
  const { squarify } = await load('market-view/squarify');
  const next = random(11);
  for (let round = 0; round < 60; round++) {
    const n = 1 + Math.floor(next() * (round % 10 === 0 ? 500 : 30));
    const weights = Array.from({ length: n }, () => Math.exp(next() * 14)).sort((a, b) => b - a);
    const box = { x: 3, y: 7, width: 40 + next() * 2000, height: 40 + next() * 1000 };
    const rects = squarify(weights, box);
    const total = weights.reduce((a, b) => a + b);
    let covered = 0;
    rects.forEach((r, i) => {
      const area = r.width * r.height;
      covered += area;
      near(area, (weights[i] / total) * box.width * box.height, 1e-6 * box.width * box.height, `area ${i} of ${n}`);
      assert.ok(r.x >= box.x - 1e-6 && r.y >= box.y - 1e-6 && r.x + r.width <= box.x + box.width + 1e-6 && r.y + r.height <= box.y + box.height + 1e-6, `tile ${i} is within the box`);
    });
    near(covered, box.width * box.height, 1e-6 * box.width * box.height, 'the whole');
    if (n > 100) continue;
    for (let i = 0; i < n; i++)
      for (let j = i + 1; j < n; j++) {
        const [a, b] = [rects[i], rects[j]];
        const wide = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
        const high = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
        assert.ok(wide < 1e-6 || high < 1e-6, `tiles ${i} and ${j} overlap`);
      }
  }
});

test('a treemap of equal weights is made of near squares, and one of nothing is empty', async () => {
  const { squarify } = await load('market-view/squarify');
  for (const r of squarify(Array(20).fill(1), { x: 0, y: 0, width: 1000, height: 600 })) assert.ok(Math.max(r.width / r.height, r.height / r.width) < 2);
  assert.deepEqual(squarify([], { x: 0, y: 0, width: 10, height: 10 }), []);
  for (const weights of [[0, 0], [NaN], [Infinity, 1], [-1]]) for (const r of squarify(weights, { x: 0, y: 0, width: 10, height: 10 })) assert.equal(r.width * r.height, 0);
  assert.equal(squarify([1], { x: 0, y: 0, width: 0, height: 10 })[0].width, 0);
  assert.deepEqual(squarify([2, 0], { x: 0, y: 0, width: 10, height: 10 }).map((r) => r.width * r.height), [100, 0]);
});

test('a tile of little turnover is raised to where it can be seen, and the order stays', async () => {
  const { atLeast } = await load('market-view/squarify');
  assert.deepEqual(atLeast([90, 9, 1, 0], 0.05), [90, 9, 5, 0]);
  assert.deepEqual(atLeast([], 0.05), []);
});

test('arrow keys reach every tile and lead back', async () => {
  const { squarify, neighbour } = await load('market-view/squarify');
  const grid = [0, 1, 2, 3].map((i) => ({ x: (i % 2) * 10, y: Math.floor(i / 2) * 10, width: 10, height: 10 }));
  assert.deepEqual(['left', 'right', 'up', 'down'].map((d) => neighbour(grid, 0, d)), [0, 1, 0, 2]);
  assert.deepEqual(['left', 'right', 'up', 'down'].map((d) => neighbour(grid, 3, d)), [2, 3, 1, 3]);
  const next = random(5);
  const rects = squarify(Array.from({ length: 40 }, () => Math.exp(next() * 6)).sort((a, b) => b - a), { x: 0, y: 0, width: 900, height: 600 });
  const reached = new Set([0]);
  for (const i of reached) for (const d of ['left', 'right', 'up', 'down']) reached.add(neighbour(rects, i, d));
  assert.equal(reached.size, rects.length);
});

test('breadth counts signs, and goes back as far as closes do', async () => {
  const { breadth, breadthOverTime } = await load('market-view/breadth');
  const m = 60_000;
  const q = (change, spark) => ({ change, price: '10', previousClose: change && '10', spark });
  const all = [
    q('1', [[7 * m, '9'], [9 * m, '11']]),
    q('-1', [[8 * m, '9'], [10 * m, '9']]),
    q('0.00', [[3 * m, '10.0']]),
    q(undefined, [[8 * m, '4']]),
  ];
  assert.deepEqual(breadth(all), { up: 1, down: 1, even: 1 });
  assert.deepEqual(breadthOverTime(all, 10 * m + 5, 9), [
    { start: 3 * m, up: 0, down: 0, even: 1 },
    { start: 4 * m, up: 0, down: 0, even: 1 },
    { start: 5 * m, up: 0, down: 0, even: 1 },
    { start: 6 * m, up: 0, down: 0, even: 1 },
    { start: 7 * m, up: 0, down: 1, even: 1 },
    { start: 8 * m, up: 0, down: 2, even: 1 },
    { start: 9 * m, up: 1, down: 1, even: 1 },
    { start: 10 * m, up: 1, down: 1, even: 1 },
  ]);
  assert.deepEqual(breadthOverTime([], 10 * m, 5), []);
});

test('turnover is compared in one currency, and is not made up where it is unknown', async () => {
  const { dollarRates, turnover } = await load('market-view/turnover');
  const q = (symbol, price, volume, currency, exchange = 'NMS') => ({ symbol, price, volume, currency, exchange });
  const rates = dollarRates([q('EURUSD=X', '1.1', undefined, 'USD'), q('JPY=X', '150', undefined, 'JPY'), q('GBPUSD=X', '1.25', undefined, 'USD'), q('EURGBP=X', '0.85', undefined, 'GBP'), q('USDCHF=X', '0.8', undefined, 'CHF')]);
  for (const [what, want] of [
    [q('AAPL', '200', '10', 'USD'), 2_000],
    [q('SAP.DE', '100', '10', 'EUR'), 1_100],
    [q('7203.T', '3000', '10', 'JPY'), 200],
    [q('VOD.L', '80', '100', 'GBp', 'LSE'), 100],
    [q('NESN.SW', '80', '1', 'CHF'), 100],
    [q('BTC-USD', '100000', '30000000000', 'USD', 'CCC'), 30_000_000_000],
    [q('0700.HK', '400', '10', 'HKD'), null],
    [q('^GSPC', '6000', '5000000000', 'USD'), null],
    [q('GC=F', '2700', '1000', 'USD'), null],
    [q('EURUSD=X', '1.1', '7', 'USD'), null],
    [q('NEW', '5', undefined, 'USD'), null],
    [q('NEW', '5', '0', 'USD'), null],
  ]) {
    const got = turnover(what, rates);
    if (want === null) assert.equal(got, null, what.symbol);
    else near(got, want, want * 1e-9, what.symbol);
  }
});

test('a bucket of delays reaches up to its bound, and the last one to any delay', async () => {
  const { bucketOf, usualBounds } = await load('pipeline-view/histogram');
  assert.deepEqual(usualBounds.slice(0, 7), [1, 2, 3, 4, 6, 8, 12]);
  usualBounds.forEach((bound, i) => {
    assert.equal(bucketOf(usualBounds, bound), i, `${bound} ms`);
    assert.equal(bucketOf(usualBounds, bound + 1e-9), i + 1, `just above ${bound} ms`);
  });
  assert.equal(bucketOf(usualBounds, 0), 0);
  assert.equal(bucketOf(usualBounds, Infinity), usualBounds.length);
});

test('percentiles of delays are right to within a bucket, whatever the delays', async () => {
  const { Delays } = await load('pipeline-view/histogram');
  const next = random(3);
  for (let round = 0; round < 20; round++) {
    const d = new Delays();
    const all = [];
    for (let i = 0; i < 3_000; i++) {
      const delay = Math.exp(next() * (2 + round / 4) + round / 8);
      all.push(delay);
      d.add(1_000_000 + i * 10, delay);
    }
    all.sort((a, b) => a - b);
    const s = d.summary(1_030_000);
    assert.equal(s.count, all.length);
    for (const [name, share] of [['p50', 0.5], ['p95', 0.95], ['p99', 0.99]]) {
      const want = all[Math.ceil(share * all.length) - 1];
      assert.ok(s[name] >= want / 1.5 && s[name] <= want * 1.5, `${name} is ${s[name]}, not about ${want}`);
    }
    assert.equal(s.max, all.at(-1));
    assert.ok(s.p50 <= s.p95 && s.p95 <= s.p99 && s.p99 <= s.max);
  }
});

test('delays grow old and fall out, and what is no number never comes in', async () => {
  const { Delays } = await load('pipeline-view/histogram');
  const d = new Delays(undefined, 10);
  assert.equal(d.summary(0), null);
  d.add(1_000, 5);
  for (let i = 0; i < 3; i++) d.add(5_000, 500);
  d.add(5_000, NaN);
  d.add(5_000, Infinity);
  d.add(5_500, -20);
  assert.equal(d.summary(5_999).count, 5);
  assert.equal(d.summary(11_000).count, 4, 'the second 1 is over');
  assert.equal(d.summary(16_000), null);
  d.add(15_000, 7); // takes the place of second 5
  assert.deepEqual(d.summary(15_000), { count: 1, p50: 6.5, p95: 6.95, p99: 6.99, max: 7 });
  d.clear();
  assert.equal(d.summary(15_000), null);
});

test('the service’s clock is told from the quickest round trip, and no surer than it allows', async () => {
  const { ServiceClock } = await load('service-clock');
  const c = new ServiceClock();
  assert.equal(c.estimate(0), null);
  const truth = 4_321.5;
  const next = random(9);
  let now = 1_700_000_000_000;
  for (let i = 0; i < 200; i++) {
    const there = 1 + next() ** 3 * 200;
    const back = 1 + next() ** 3 * 200;
    c.add({ sent: now, answered: now + there + back, service: now + there + truth });
    now += 1_000;
    const e = c.estimate(now);
    assert.ok(Math.abs(e.offset - truth) <= e.within + 1e-3, `${e.offset} is not within ${e.within} of ${truth}`);
  }
  assert.ok(c.estimate(now).within < 50);
  c.add({ sent: now, answered: now + 60_000, service: now });
  c.add({ sent: now, answered: now - 1, service: now });
  c.add({ sent: now, answered: now + 1, service: NaN });
  assert.ok(Math.abs(c.estimate(now).offset - truth) < 50);
  assert.equal(c.estimate(now + 600_000), null, 'what is old is not believed');
  c.forget();
  assert.equal(c.estimate(now), null);
});

test('figures of the pipeline are short, and what is unknown is a dash', async () => {
  const { delay, count, rate, bytes } = await load('pipeline-view/format');
  const rows = (f, pairs) => { for (const [n, want] of pairs) assert.equal(f(n), want, `${f.name} of ${n}`); };
  rows(delay, [[undefined, '–'], [null, '–'], [NaN, '–'], [0, '0 ms'], [0.44, '0.4 ms'], [9.96, '10 ms'], [999.4, '999 ms'], [999.6, '1.00 s'], [9_999, '10.0 s'], [59_940, '59.9 s'], [59_980, '1 min 0 s'], [200_400, '3 min 20 s'], [3_599_900, '1 h 0 min'], [90_000_000, '25 h 0 min'], [400_000_000, '5 days']]);
  rows(count, [[undefined, '–'], [0, '0'], [1_234_567, '1,234,567']]);
  rows(rate, [[undefined, '–'], [0, '0'], [0.04, '0.0'], [12.34, '12.3'], [99.96, '100'], [4_310.4, '4,310'], [99_999.6, '100K'], [460_400, '460K'], [1_250_000, '1.25M']]);
  rows(bytes, [[undefined, '–'], [0, '0 B'], [1_023, '1023 B'], [1_536, '1.5 KiB'], [10_240, '10 KiB'], [241_172_480, '230 MiB'], [2 ** 50, '1024 TiB']]);
});

test('a change has a step, and the strongest begins where it is said', async () => {
  const { stepOf } = await load('market-view/heat');
  assert.deepEqual([null, 0, NaN, 0.01, -0.01, 0.6, 0.61, 2.41, 3, 90, -3.1].map((p) => stepOf(p, 3)), [0, 0, 0, 1, -1, 1, 2, 5, 5, 5, -5]);
});

test('the text on every shade of every theme and palette can be read', async () => {
  const { shade, parse, contrast, steps } = await load('market-view/heat');
  const sheet = readFileSync(new URL('../src/style/tokens.css', import.meta.url), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
  const blocks = [...sheet.matchAll(/^([^{}@]+)\{([^}]*)\}/gm)].map(([, selector, body]) => ({ selector: selector.trim(), tokens: Object.fromEntries([...body.matchAll(/--([\w-]+):\s*([^;]+);/g)].map(([, name, value]) => [name, value.trim()])) }));
  const matching = (theme, palette) => blocks.filter(({ selector }) =>
    selector.split(',').some((s) => {
      const wants = [...s.matchAll(/\[data-(theme|palette)='(\w+)'\]/g)];
      return (s.trim().startsWith(':root') || wants.length > 0) && wants.every(([, kind, value]) => value === (kind === 'theme' ? theme : palette));
    }));
  for (const theme of ['dark', 'light', 'contrast'])
    for (const palette of ['classic', 'safe']) {
      const t = Object.assign({}, ...matching(theme, palette).map((b) => b.tokens));
      const [neutral, up, down, ink, ground] = ['raised-2', 'up', 'down', 'ink', 'ground'].map((name) => parse(t[name]));
      assert.notDeepEqual(up, down);
      for (let step = -steps; step <= steps; step++) {
        const s = shade(step, neutral, up, down, [ink, ground]);
        assert.ok(contrast(s.ground, s.ink) >= 4.5, `step ${step} of ${theme}, ${palette}: ${contrast(s.ground, s.ink).toFixed(2)}`);
      }
    }
});

test('messages of the service are read, and what is none is passed over whatever it is', async () => {
  const { readMessage } = await load('read-message');
  const w = { start: 60_000, open: '1', high: '2', low: '0.5', close: '1.5', volume: '10', ticks: 3, rev: 4 };
  const q = { symbol: 'AAPL', price: '231.45', change: '-1.2', percent: '0.52', volume: '48', time: 1, received: 2, info: { currency: 'USD', exchange: 'NMS', market_state: 'REGULAR', source: 'yahoo' }, spark: [[0, '1']], windows: [w] };
  const good = [
    { type: 'snapshot', epoch: 'e', seq: 1, quotes: [q] },
    { type: 'delta', epoch: 'e', from: 1, seq: 2, quotes: [{ symbol: 'A', price: '1', time: 1, received: 1, windows: [] }], removed: ['B'] },
    { type: 'pulse', now: 1, ticks_per_second: 0, last_update: 0, symbols: 0, simulated_symbols: 0, behind: 0, latency: { p50: 1, p95: 2, p99: 3, count: 4 } },
    { type: 'pipeline', now: 1, functions: [{}], parts: [], ticks: {}, latency: { seconds: 60, bounds: [1, 2], stages: [{ name: 'kafka', count: 0, counts: [0, 0, 0] }] } },
  ];
  for (const m of good) assert.deepEqual(readMessage(JSON.stringify(m)), m);
  for (const text of ['', 'x', 'null', '[]', '7', '"a"', '{}', '{"type":"other"}', '{"type":"__proto__"}', '[{"type":"pulse"}]']) assert.equal(readMessage(text), null, text);
  // Any one value of a good message replaced by what it is not.
  const next = random(4);
  const rubbish = [null, 'soon', {}, [], true, [null], '1e9', -1, 'NaN'];
  const places = (v, path = []) => (typeof v === 'object' && v !== null ? Object.entries(v).flatMap(([k, x]) => [[...path, k], ...places(x, [...path, k])]) : []);
  for (let i = 0; i < 3_000; i++) {
    const m = structuredClone(good[i % good.length]);
    const all = places(m);
    const path = all[Math.floor(next() * all.length)];
    const value = rubbish[Math.floor(next() * rubbish.length)];
    let at = m;
    for (const k of path.slice(0, -1)) at = at[k];
    at[path.at(-1)] = value;
    const read = readMessage(JSON.stringify(m));
    if (read?.quotes) for (const x of read.quotes) assert.match(x.price, /^-?\d/);
  }
});
