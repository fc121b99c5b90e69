// The market view.
import assert from 'node:assert/strict';
import { changes, state, text } from './harness.mjs';
import { Scripted } from './scripted.mjs';

const tiles = (page) => page.evaluate(() => [...document.querySelectorAll('.tile')].map((e) => {
  const r = e.getBoundingClientRect();
  return { symbol: e.dataset.symbol, area: r.width * r.height, left: r.left, top: r.top, right: r.right, bottom: r.bottom, step: Number(e.dataset.step), label: e.textContent, percent: e.querySelector('.tile-percent').textContent };
}));

export default async function market(t) {
  const service = await t.service();
  const page = await t.page({ url: service.url, hash: '#/market' });
  await state(page, 'live');

  await t.step('each symbol has a tile, whose colour, sign and arrow are those of its change', async () => {
    await page.waitForFunction(() => document.querySelectorAll('.tile').length === 20);
    for (const tile of await tiles(page)) {
      assert.match(tile.percent, tile.step > 0 ? /^▲ \+/ : tile.step < 0 ? /^▼ −/ : /^· 0|^–/, `${tile.symbol} has step ${tile.step}`);
    }
    await t.shot(page, 'market-dark');
  });

  await t.step('areas are the turnover’s, and tiles do not overlap', async () => {
    const scripted = new Scripted({ symbols: 12 });
    const other = await t.page({ hash: '#/market', scripted: scripted });
    await state(other, 'live');
    await other.waitForFunction(() => document.querySelectorAll('.tile').length === 12);
    const list = await tiles(other);
    const area = (symbol) => list.find((x) => x.symbol === symbol).area;
    const worth = (symbol) => { const s = scripted.list.find((x) => x.symbol === symbol); return s.price * s.volume; };
    for (const symbol of ['NVDA', 'TSLA', 'MSFT', 'AMZN']) {
      const [got, want] = [area(symbol) / area('AAPL'), worth(symbol) / worth('AAPL')];
      assert.ok(Math.abs(got / want - 1) < 0.06, `${symbol} is ${got} of AAPL, not ${want}`);
    }
    for (const a of list) for (const b of list) if (a !== b) assert.ok(Math.min(a.right, b.right) - Math.max(a.left, b.left) < 1 || Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) < 1, `${a.symbol} lies over ${b.symbol}`);
    assert.match(await text(other, '.map-caption'), /No turnover to compare/);
    await t.release(other);
  });

  await t.step('movers are in order, breadth counts all, and both move', async () => {
    const { quotes } = await service.get('/api/snapshot');
    const lists = await page.evaluate(() => Object.fromEntries(['gainers', 'losers', 'active'].map((id) => [id, [...document.querySelectorAll(`[aria-labelledby="${id}-title"] li:not([hidden])`)].map((li) => li.querySelector('.mover-figure').textContent)])));
    const value = (s) => Number(s.replace('−', '-').replace(/[^\d.-]/g, ''));
    for (const [id, sign] of [['gainers', 1], ['losers', -1]]) {
      const values = lists[id].map(value);
      assert.deepEqual(values, [...values].sort((a, b) => sign * (b - a)), id);
      assert.ok(values.every((v) => v * sign > 0), `${id}: ${values}`);
    }
    assert.ok(lists.active.length > 5);
    const counts = await page.evaluate(() => [...document.querySelectorAll('.breadth-part b')].map((b) => Number(b.textContent)));
    assert.equal(counts.reduce((a, b) => a + b), quotes.filter((q) => q.percent !== undefined).length);
    await changes(page, '[aria-labelledby="active-title"] .mover-price');
  });

  await t.step('choices stand in the address and survive a reload', async () => {
    await page.locator('label', { hasText: /^Equal$/ }).click();
    await page.locator('label', { hasText: '±6 %' }).click();
    assert.match(page.url(), /#\/market\?area=equal&scale=6$/);
    await page.reload();
    await state(page, 'live');
    await page.waitForFunction(() => document.querySelectorAll('.tile').length === 20);
    const areas = (await tiles(page)).map((x) => x.area);
    assert.ok(Math.max(...areas) / Math.min(...areas) < 1.1, 'areas are equal');
    await page.locator('label', { hasText: /^Turnover$/ }).click();
    await page.locator('label', { hasText: '±3 %' }).click();
  });

  await t.step('arrow keys walk over the map, and Enter or a click opens the chart', async () => {
    await page.locator('.tile').first().waitFor();
    const first = await page.evaluate(() => {
      const stops = [...document.querySelectorAll('.tile')].filter((e) => e.tabIndex === 0);
      stops[0].focus();
      return stops.map((e) => e.dataset.symbol).join();
    });
    assert.doesNotMatch(first, /,/, 'the map is one stop of the Tab key');
    await page.keyboard.press('Home'); // the largest, at the left
    const largest = await page.evaluate(() => document.activeElement.dataset.symbol);
    await page.keyboard.press('ArrowRight');
    const second = await page.evaluate(() => document.activeElement.dataset.symbol);
    assert.notEqual(second, largest);
    assert.ok(await page.locator('.map-card').isVisible(), 'more is told of the tile');
    assert.match(await text(page, '.map-card'), new RegExp(second.replace(/[\^$=.]/g, '\\$&')));
    await page.keyboard.press('Escape');
    assert.ok(await page.locator('.map-card').isHidden());
    await page.keyboard.press('Enter');
    await page.waitForFunction((s) => document.querySelector('.who-symbol')?.innerText === s, second);
    await page.goBack();
    await page.locator('.tile[data-symbol="NVDA"]').click();
    await page.waitForFunction(() => document.querySelector('.who-symbol')?.innerText === 'NVDA');
    await page.evaluate(() => { location.hash = '#/market'; });
  });
}
