// How smoothly the page moves: `make build && npm run frames` in dashboard/web
// measures it on the made-up dashboard with 500 symbols (SYMBOLS) and 2,000 trades a
// second (RATE). It prints what the browser's own tracing tells of 10 seconds
// (SECONDS): frames drawn, how long the main thread was busy in each, and the heap.
// It measures and judges nothing: a busy machine is no fault of the page.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chromium } from 'playwright-core';

const { SYMBOLS = '500', RATE = '2000', SECONDS = '10', CHROMIUM = '/usr/bin/chromium', HASH = '#/watch/AAPL?with=volume,vwap,sma:20:50,bb:20:2,rsi:14' } = process.env;
const address = '127.0.0.1:8098';
const url = process.env.DASHBOARD_URL ?? `http://${address}`;
const service = process.env.DASHBOARD_URL ? null : spawn(process.env.SERVE ?? 'go', process.env.SERVE ? [] : ['run', '../feedtest/serve'], {
  env: { ...process.env, STAGE_ADDR: address, STAGE_SYMBOLS: SYMBOLS, STAGE_RATE: RATE }, stdio: ['ignore', 'ignore', 'inherit'], detached: true,
});
try {
  for (;;) {
    if (await fetch(`${url}/api/status`).then((r) => r.ok, () => false)) break;
    if (service?.exitCode !== null && service) throw new Error('the made-up dashboard does not run');
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-gpu', '--no-first-run'] });
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  await page.goto(`${url}/${HASH}`);
  await page.waitForFunction(() => document.body.dataset.state === 'live' && document.querySelectorAll('#rows tr').length > 0);
  await page.waitForTimeout(3_000);
  const dev = await page.context().newCDPSession(page);
  await dev.send('Performance.enable');
  const metrics = async () => Object.fromEntries((await dev.send('Performance.getMetrics')).metrics.map((m) => [m.name, m.value]));
  const events = [];
  dev.on('Tracing.dataCollected', ({ value }) => events.push(...value));
  const before = await metrics();
  await dev.send('Tracing.start', { transferMode: 'ReportEvents', traceConfig: { includedCategories: ['devtools.timeline', 'disabled-by-default-devtools.timeline'] } });
  const gaps = await page.evaluate((ms) => new Promise((resolve) => {
    const gaps = [];
    let last = performance.now();
    const end = last + ms;
    const frame = (now) => {
      gaps.push(now - last);
      last = now;
      if (now < end) requestAnimationFrame(frame);
      else resolve(gaps);
    };
    requestAnimationFrame(frame);
  }), Number(SECONDS) * 1_000);
  const complete = once(dev, 'Tracing.tracingComplete');
  await dev.send('Tracing.end');
  await complete;
  const after = await metrics();
  const seconds = after.Timestamp - before.Timestamp;
  const share = (name) => `${(((after[name] - before[name]) / seconds) * 100).toFixed(1)} %`;
  const at = (list, p) => [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * p))] ?? 0;
  const tasks = events.filter((e) => e.name === 'RunTask' && e.ph === 'X').map((e) => e.dur / 1_000);
  const drawn = events.filter((e) => e.name === 'FireAnimationFrame' && e.ph === 'X').map((e) => e.dur / 1_000);
  console.log(`${SYMBOLS} symbols, ${RATE} trades a second, ${seconds.toFixed(1)} s, ${HASH}`);
  console.log(`frames        ${(gaps.length / (Number(SECONDS))).toFixed(1)} a second; between two p50 ${at(gaps, 0.5).toFixed(1)} ms, p95 ${at(gaps, 0.95).toFixed(1)} ms, longest ${Math.max(...gaps).toFixed(1)} ms`);
  console.log(`main thread   busy ${share('TaskDuration')}: script ${share('ScriptDuration')}, style ${share('RecalcStyleDuration')}, layout ${share('LayoutDuration')}`);
  console.log(`in a frame    callbacks p50 ${at(drawn, 0.5).toFixed(2)} ms, p99 ${at(drawn, 0.99).toFixed(2)} ms; tasks above 50 ms: ${tasks.filter((t) => t > 50).length}`);
  console.log(`heap          ${(after.JSHeapUsedSize / 2 ** 20).toFixed(1)} MiB, ${after.Nodes} nodes`);
  await browser.close();
} finally {
  if (service) process.kill(-service.pid);
}
