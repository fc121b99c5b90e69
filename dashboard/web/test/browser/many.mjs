// Five hundred symbols.
import assert from 'node:assert/strict';
import { agrees, fits, says, state } from './harness.mjs';

export default async function many(t) {
  const service = await t.service({ symbols: 500, rate: 500 });
  const page = await t.page({ url: service.url, hash: '#/watch/AAPL', viewport: { width: 1440, height: 900 }, settings: { motion: 'auto' } });
  await state(page, 'live');
  await page.waitForFunction(() => document.querySelectorAll('#rows tr').length === 500);

  await t.step('five hundred symbols move, those out of sight too', async () => {
    const last = page.locator('#rows tr').last();
    // What is out of sight is not laid out, so its text is read as it is written.
    const was = await last.locator('.c-last').textContent();
    await page.waitForFunction((w) => [...document.querySelectorAll('#rows tr .c-last')].at(-1).textContent !== w, was);
    await last.scrollIntoViewIfNeeded();
    await page.waitForFunction(() => [...document.querySelectorAll('#rows tr')].at(-1).querySelector('.line').getAttribute('d') !== null);
    await t.shot(page, 'symbols-500');
  });

  await t.step('five hundred symbols at two thousand trades a second are drawn', async () => {
    await service.control('rate?rate=2000');
    const frames = await page.evaluate(() => new Promise((resolve) => {
      const gaps = [];
      let before = performance.now();
      const end = before + 1_500;
      const frame = (now) => {
        gaps.push(now - before);
        before = now;
        if (now < end) requestAnimationFrame(frame);
        else resolve({ each: Math.round(gaps.length / 1.5), longest: Math.round(Math.max(...gaps)) });
      };
      requestAnimationFrame(frame);
    }));
    t.lines.push(`     ${frames.each} frames a second with 500 symbols, the longest ${frames.longest} ms`);
  });

  await t.step('a page that can’t keep up gets what is newest, not a queue', async () => {
    const dev = await page.context().newCDPSession(page);
    await dev.send('Emulation.setCPUThrottlingRate', { rate: 4 });
    await page.evaluate(() => {
      const end = Date.now() + 2_000;
      while (Date.now() < end); // the page is stuck
    });
    await dev.send('Emulation.setCPUThrottlingRate', { rate: 1 });
    await service.control('stale');
    await agrees(page, service, 'AAPL,MSFT,NVDA');
    await dev.detach();
  });

  await t.step('each finds its place on the map, and none that can be seen is unnamed to a reader', async () => {
    await page.evaluate(() => { location.hash = '#/market'; });
    await page.waitForFunction(() => document.querySelectorAll('.tile').length === 500);
    const tiles = await page.evaluate(() => [...document.querySelectorAll('.tile')].map((e) => ({ symbol: e.dataset.symbol, label: e.textContent, percent: e.querySelector('.tile-percent').textContent, side: Math.min(e.offsetWidth, e.offsetHeight) })));
    assert.deepEqual(tiles.filter((x) => !x.label.includes(x.symbol) || !x.label.includes(x.percent)), []);
    assert.deepEqual(tiles.filter((x) => x.side < 6), [], 'what has its place can be seen and hit');
    await says(page, '.breadth-now', /advancers/);
    await fits(page, 'the market of 500');
    await t.shot(page, 'market-500');
  });
}
