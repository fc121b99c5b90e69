// An hour of updates in a few seconds: what the page holds must not grow.
import assert from 'node:assert/strict';
import { serveBuilt, state } from './harness.mjs';
import { Scripted } from './scripted.mjs';

const minutes = 60;

export default async function memory(t) {
  await t.step('an hour’s updates leave nothing behind', async () => {
    const scripted = new Scripted({ symbols: 20 });
    const page = await t.page({ hash: '#/watch/AAPL', url: 'http://127.0.0.1:19999', before: async (p) => {
      await serveBuilt(p, (path, request) => scripted.api[path]?.(request));
      // The stream is within the page, as its clock is (harness.mjs): both run as fast as they are told.
      await p.addInitScript(() => {
        window.WebSocket = class {
          constructor() {
            window.tell = (m) => this.onmessage?.({ data: JSON.stringify(m) });
            setTimeout(() => window.opened?.(), 0);
          }
          send() {}
          close() {}
        };
        window.play = async (names, seconds) => {
          const minute = () => Math.floor(Date.now() / 60_000) * 60_000;
          window.turn ??= 1;
          window.course ??= 100;
          for (let i = 0; i < seconds; i++) {
            window.skip(1_000);
            for (let k = 0; k < 4; k++) {
              const quotes = Array.from({ length: 5 }, (_, n) => {
                const price = (window.course += Math.sin(window.turn + n) / 10).toFixed(2);
                return { symbol: names[(window.turn * 5 + n) % names.length], price, change: '0.10', percent: '0.10', volume: String(1e6 + window.turn), time: Date.now(), received: Date.now() - 5, windows: [{ start: minute(), open: price, high: price, low: price, close: price, volume: '5', ticks: 1, rev: window.turn + 1 }] };
              });
              window.tell({ type: 'delta', epoch: 'e', from: window.turn, seq: ++window.turn, quotes });
            }
            window.tell({ type: 'pulse', now: Date.now(), ticks: window.turn, live_ticks: window.turn, ticks_per_second: 20, last_update: Date.now(), symbols: names.length, simulated_symbols: names.length, clients: 1, connected: true, caught_up: true, behind: 0 });
            // Frames are drawn as on a machine that manages one of some.
            if (i % 30 === 0) await new Promise((resolve) => requestAnimationFrame(resolve));
          }
        };
      });
    } });
    await page.waitForFunction(() => typeof window.tell === 'function');
    const first = { ...scripted.snapshot(), epoch: 'e', seq: 1 };
    await page.evaluate((m) => window.tell(m), first);
    const names = scripted.list.map((s) => s.symbol);
    const dev = await page.context().newCDPSession(page);
    const held = async () => {
      for (let i = 0; i < 3; i++) await dev.send('HeapProfiler.collectGarbage');
      const { metrics } = await dev.send('Performance.getMetrics');
      const of = (name) => metrics.find((m) => m.name === name).value;
      return { heap: of('JSHeapUsedSize'), nodes: of('Nodes'), listeners: of('JSEventListeners') };
    };
    await dev.send('Performance.enable');
    const views = ['market', 'pipeline', 'watch/AAPL'];
    const part = async (from, to) => {
      for (let m = from; m < to; m++) {
        if (m % 5 === 0) await page.evaluate((v) => { location.hash = `#/${v}`; }, views[(m / 5) % views.length]);
        await page.evaluate(([n]) => window.play(n, 60), [names]);
      }
      await page.evaluate(() => { location.hash = '#/watch/AAPL'; });
      await state(page, 'live');
    };
    await part(0, 20); // all views are built, all lists as long as they get
    const before = await held();
    await part(20, minutes);
    const after = await held();
    t.lines.push(`     heap ${(before.heap / 1e6).toFixed(1)} MB after 20 minutes, ${(after.heap / 1e6).toFixed(1)} MB after ${minutes}; nodes ${before.nodes}, ${after.nodes}; listeners ${before.listeners}, ${after.listeners}`);
    // Candles of the open chart are kept, 40 more of them.
    assert.ok(after.heap - before.heap < 1_000_000, `the heap grew by ${after.heap - before.heap} bytes`);
    assert.ok(after.nodes - before.nodes < 200, `nodes grew from ${before.nodes} to ${after.nodes}`);
    assert.ok(after.listeners - before.listeners < 20, `listeners grew from ${before.listeners} to ${after.listeners}`);
  });
}
