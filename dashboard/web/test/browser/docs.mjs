// Takes the pictures of docs/: `make screenshots`.
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { launch, Service, state } from './harness.mjs';

const to = process.env.SHOTS;
const most = 300_000; // bytes each

const browser = await launch();
const service = await Service.start({ rate: 120 });
await service.control('dead-letter');

async function open(hash, settings = {}, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, colorScheme: 'dark', timezoneId: 'America/New_York', locale: 'en-US', ...options });
  const page = await context.newPage();
  await page.addInitScript((s) => localStorage.setItem('ticktape', s), JSON.stringify({ theme: 'dark', ...settings }));
  await page.goto(`${service.url}/${hash}`);
  await state(page, 'live');
  return page;
}

/** Lets the market go on for a while, so that there is something to see. */
const watch = (page, seconds) => page.waitForTimeout(seconds * 1_000);

async function picture(name, page) {
  const path = `${to}/${name}.png`;
  await page.screenshot({ path });
  const { size } = statSync(path);
  assert.ok(size < most, `${path} has ${size} bytes, more than ${most}`);
  console.log(`${path}  ${Math.round(size / 1000)} kB`);
}

const pages = {
  dashboard: await open('#/watch/NVDA?interval=5m&with=volume,sma:20,bb:20:2,rsi:14'),
  'dashboard-market': await open('#/market'),
  'dashboard-pipeline': await open('#/pipeline', {}, { viewport: { width: 1440, height: 1180 } }),
  'dashboard-light': await open('#/watch/AAPL?interval=15m&with=volume,sma:20,ema:50', { theme: 'light' }),
};
await watch(pages.dashboard, 40);
for (const [name, page] of Object.entries(pages)) {
  await page.bringToFront();
  await watch(page, 2);
  await picture(name, page);
  await page.context().close();
}

const phone = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 1.5, isMobile: true, hasTouch: true };
const phones = [];
for (const hash of ['#/watch', '#/watch/TSLA', '#/market', '#/pipeline']) {
  const page = await open(hash, {}, phone);
  await watch(page, 6);
  phones.push((await page.screenshot()).toString('base64'));
  await page.context().close();
}
const side = await (await browser.newContext({ viewport: { width: 4 * 360 + 5 * 24, height: 740 + 48 } })).newPage();
await side.setContent(`<body style="margin:0;padding:24px;display:flex;gap:24px;background:#2a2f31">${phones.map((p) => `<img style="width:360px;border-radius:16px" src="data:image/png;base64,${p}">`).join('')}</body>`);
await picture('dashboard-phone', side);

await service.kill();
await browser.close();
