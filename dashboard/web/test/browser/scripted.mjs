// A service whose every word is scripted, for what the made-up dashboard can't be
// brought to say: the contract of dashboard/README.md, spoken through Playwright's
// routes (harness.mjs, Pages). The page can't tell it from a real one.

/** A small generator with a seed, so that a failure can be made again. */
export function random(seed) {
  let s = seed >>> 0;
  const next = () => (s = (Math.imul(s, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  return { next, normal: () => Math.sqrt(-2 * Math.log(next() + 1e-9)) * Math.cos(2 * Math.PI * next()) };
}

const known = [
  ['AAPL', 'Apple Inc.', 231, 50e6], ['MSFT', 'Microsoft Corporation', 428, 20e6], ['NVDA', 'NVIDIA Corporation', 141, 230e6], ['AMZN', 'Amazon.com, Inc.', 223, 40e6],
  ['GOOGL', 'Alphabet Inc.', 176, 22e6], ['META', 'Meta Platforms, Inc.', 612, 11e6], ['TSLA', 'Tesla, Inc.', 352, 95e6], ['BRK-B', 'Berkshire Hathaway Inc.', 489, 3.5e6],
  ['JPM', 'JPMorgan Chase & Co.', 244, 8e6], ['KO', 'Coca-Cola Company (The)', 62, 13e6], ['EURUSD=X', 'EUR/USD', 1.08, 0], ['^GSPC', 'S&P 500', 5987, 0],
];

export class Scripted {
  seq = 1;
  epoch = 'epoch-1';
  sockets = new Set();
  /** Answers of the HTTP API by path, which a scene may change. */
  api = {};
  pipeline = null;
  asked = [];

  constructor({ symbols = 12, seed = 1 } = {}) {
    this.rnd = random(seed);
    this.list = known.slice(0, symbols).map(([symbol, name, price, volume]) => ({ symbol, name, price, volume }));
    for (let i = this.list.length; i < symbols; i++) this.list.push({ symbol: `S${String(i).padStart(4, '0')}`, name: `Company ${i}`, price: 20 + (i % 400), volume: Math.exp(this.rnd.normal() * 1.5 + 14) });
    for (const s of this.list) {
      s.previous = s.price;
      s.price *= 1 + this.rnd.normal() * 0.018;
    }
    const now = () => Date.now();
    this.api = {
      '/api/status': () => ({ now: now(), full: false }),
      '/api/markets': () => ({ now: now(), markets: [{ exchange: 'NMS', name: 'Nasdaq', time_zone: 'America/New_York', session: 'open', known_by: 'trades' }] }),
      '/api/watchlist': () => ({ rev: 1, symbols: this.list.map((s) => ({ symbol: s.symbol, name: s.name, exchange: 'NMS', state: 'active', shown: true })) }),
      '/api/candles': () => ({ symbol: 'AAPL', interval: '1m', epoch: this.epoch, seq: this.seq, candles: [], windows: [] }),
      '/api/sparklines': () => ({ now: now(), step: 300_000, sparklines: [] }),
      '/api/dead-letters': () => ({ total: 0, letters: [] }),
    };
  }

  quote(s, whole = false) {
    const now = Date.now();
    const minute = now - (now % 60_000);
    return {
      symbol: s.symbol, price: s.price.toFixed(2), change: (s.price - s.previous).toFixed(2), percent: ((s.price / s.previous - 1) * 100).toFixed(2),
      ...(s.volume ? { volume: String(Math.round(s.volume)) } : {}), time: now - 5, received: now - 5,
      ...(whole ? {
        info: { previous_close: s.previous.toFixed(2), currency: 'USD', exchange: 'NMS', market_state: 'REGULAR', source: 'simulated', name: s.name },
        spark: Array.from({ length: 60 }, (_, i) => [minute - (59 - i) * 60_000, (s.previous + ((s.price - s.previous) * i) / 59).toFixed(2)]),
      } : {}),
      windows: [{ start: minute, open: s.price.toFixed(2), high: s.price.toFixed(2), low: s.price.toFixed(2), close: s.price.toFixed(2), volume: '10', ticks: 1, rev: this.seq }],
    };
  }

  snapshot() {
    return { type: 'snapshot', epoch: this.epoch, seq: this.seq, quotes: this.list.map((s) => this.quote(s, true)) };
  }

  pulse(more = {}) {
    const now = Date.now();
    return { type: 'pulse', now, ticks: 1, live_ticks: 1, ticks_per_second: 12, last_update: now, symbols: this.list.length, simulated_symbols: this.list.length, clients: 1, connected: true, caught_up: true, behind: 0, ...more };
  }

  /** Trades of n symbols by chance, as one delta. */
  trade(n) {
    const touched = new Set();
    for (let i = 0; i < n; i++) {
      const s = this.list[Math.floor(this.rnd.next() * this.list.length)];
      s.price = Math.max(0.01, s.price * (1 + this.rnd.normal() * 0.0004));
      if (s.volume) s.volume += 100;
      touched.add(s);
    }
    const from = this.seq++;
    return { type: 'delta', epoch: this.epoch, from, seq: this.seq, quotes: [...touched].map((s) => this.quote(s)) };
  }

  say(message) {
    const data = typeof message === 'string' ? message : JSON.stringify(message);
    for (const ws of this.sockets) ws.send(data);
  }

  /** Speaks with a page that connects. */
  accept(ws) {
    this.sockets.add(ws);
    this.asked.push(ws.url());
    ws.onMessage((m) => {
      this.asked.push(String(m));
      if (JSON.parse(String(m)).op === 'snapshot') ws.send(JSON.stringify(this.snapshot()));
    });
    ws.onClose(() => this.sockets.delete(ws));
    ws.send(JSON.stringify(this.snapshot()));
    this.beat(ws);
    this.timer ??= setInterval(() => { for (const each of this.sockets) this.beat(each); }, 1_000);
  }

  end() {
    clearInterval(this.timer);
    this.sockets.clear();
  }

  beat(ws) {
    ws.send(JSON.stringify(this.pulse()));
    if (this.pipeline) ws.send(JSON.stringify({ ...this.pipeline, now: Date.now() }));
  }
}

const bounds = Array.from({ length: 17 }, (_, i) => [2 ** i, 3 * 2 ** (i - 1)]).flat().filter((b) => b === 1 || b >= 2);

/** What the service says of a pipeline at work. */
export function pipeline() {
  const counts = (middle) => bounds.concat(Infinity).map((_, i) => Math.max(0, 90 - 30 * Math.abs(i - middle)));
  const f = (name, more = {}) => ({
    name, topic: 'ticks', lag: 66, per_second: 1200.4,
    partitions: Array.from({ length: 12 }, (_, partition) => ({ partition, committed: 1_000, end: 1_000 + partition, lag: partition })),
    calls: { per_second: 9.8, p50: 4.1, p95: 9.7, p99: 18.2, total: 91_233, codes: { 200: 91_230, 503: 3 } }, batches: { mean: 122.5, p50: 96, p95: 410, bytes: 8_300 }, retries: 3, dead_letters: 0, stopped: [], ...more,
  });
  return {
    type: 'pipeline', now: Date.now(), ticks: { per_second: 1201.5, total: 9_182_731 }, functions: [f('process'), f('persist')],
    latency: { seconds: 60, bounds, stages: [['source', 17], ['kafka', 5], ['window', 10], ['dashboard', 4], ['total', 11]].map(([name, middle]) => ({ name, count: 270, counts: counts(middle), p50: 4.2, p95: 9, p99: 14.4, max: 31 })) },
    seal: { windows: 2_811, again: 2, candles: 56_220, audited: 56_220, differences: 0, repeats: 0, behind_seconds: 0, since: 1 }, dead_letters: { total: 0 },
    parts: [['kafka', 'server'], ['cassandra', 'server'], ['kafka-connector', 'connector'], ['cron-connector', 'connector'], ['fetch', 'function'], ['process', 'function'], ['persist', 'function'], ['seal', 'function'], ['dashboard', 'service']].map(([name, kind]) => ({ name, kind, state: 'up', reason: '', since: 1 })),
  };
}
