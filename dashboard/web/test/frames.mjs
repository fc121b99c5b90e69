// How smoothly the page moves: `make build && npm run frames` in dashboard/web
// measures it on the made-up dashboard with 500 symbols (SYMBOLS) and 2,000 trades a
// second (RATE). It prints what the browser's own tracing tells of 10 seconds
// (SECONDS): frames drawn, what the main thread spent on them, and the heap. It judges
// nothing: frames are the machine's too, so the main thread's own CPU time stands beside.
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
  const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN);
  const dev = await page.context().newCDPSession(page);
  await dev.send('Performance.enable');
  const metrics = async () => Object.fromEntries((await dev.send('Performance.getMetrics')).metrics.map((m) => [m.name, m.value]));
  const events = [];
  dev.on('Tracing.dataCollected', ({ value }) => events.push(...value));
  const before = await metrics();
  await dev.send('Tracing.start', { transferMode: 'ReportEvents', traceConfig: { includedCategories: ['devtools.timeline', 'disabled-by-default-devtools.timeline', 'toplevel', '__metadata'] } });
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
  const at = (list, p) => [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * p))] ?? 0;
  const thread = events.find((e) => e.name === 'thread_name' && e.args.name === 'CrRendererMain' && events.some((f) => f.name === 'FireAnimationFrame' && f.pid === e.pid && f.tid === e.tid));
  const main = events.filter((e) => e.ph === 'X' && e.pid === thread?.pid && e.tid === thread?.tid);
  const tasks = main.filter((e) => e.name.endsWith('RunTask')).map((e) => (e.tdur ?? e.dur) / 1_000);
  const of = (...names) => main.filter((e) => names.includes(e.name)).reduce((sum, e) => sum + (e.tdur ?? e.dur), 0) / 1_000 / seconds;
  console.log(`${SYMBOLS} symbols, ${RATE} trades a second, ${seconds.toFixed(1)} s, ${HASH}`);
  console.log(`frames        ${(gaps.length / gaps.reduce((a, b) => a + b, 0) * 1_000).toFixed(1)} a second; between two p50 ${at(gaps, 0.5).toFixed(1)} ms, p95 ${at(gaps, 0.95).toFixed(1)} ms, longest ${Math.max(...gaps).toFixed(1)} ms`);
  console.log(`main thread   ${(tasks.reduce((a, b) => a + b, 0) / seconds / 10).toFixed(1)} % of a core, in its own CPU time; a task p99 ${at(tasks, 0.99).toFixed(1)} ms, longest ${at(tasks, 1).toFixed(1)} ms, above 16 ms ${tasks.filter((t) => t > 16).length}`);
  console.log(`ms a second   script ${(of('FunctionCall', 'EvaluateScript', 'FireAnimationFrame') ).toFixed(0)}, style ${of('UpdateLayoutTree').toFixed(0)}, layout ${of('Layout').toFixed(0)}, paint ${of('PrePaint', 'Paint', 'Layerize', 'Commit').toFixed(0)}, garbage ${of('MinorGC', 'MajorGC').toFixed(0)}`);
  console.log(`first paint   ${paint.toFixed(0)} ms after the page was asked for`);
  console.log(`heap          ${(after.JSHeapUsedSize / 2 ** 20).toFixed(1)} MiB, ${after.Nodes} nodes`);
  await browser.close();
} finally {
  if (service) process.kill(-service.pid);
}
