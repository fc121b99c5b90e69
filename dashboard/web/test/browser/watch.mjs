// The watch list and the chart beside it.
import assert from 'node:assert/strict';
import { accessible, agrees, changes, says, state, text } from './harness.mjs';

export default async function watch(t) {
  const service = await t.service();
  await service.control('empty');
  const page = await t.page({ url: service.url, viewport: { width: 1440, height: 900 } });
  const row = (symbol) => `#rows tr[data-symbol="${symbol}"]`;

  await t.step('before the first tick the page says what it waits for', async () => {
    await state(page, 'waiting');
    assert.ok(await page.locator('#waiting').isVisible());
    assert.deepEqual(await page.locator('#waiting li').evaluateAll((l) => l.map((e) => e.dataset.done)), ['yes', 'yes', 'no']);
    assert.ok(await page.locator('#simulated').isHidden(), 'nothing is simulated yet');
    await accessible(page, 'the page before the first tick');
    await t.shot(page, 'waiting');
  });

  await t.step('the first ticks appear by themselves, marked as simulated', async () => {
    await service.control('live');
    await state(page, 'live');
    await page.waitForFunction(() => document.querySelectorAll('#rows tr').length === 20);
    assert.ok(await page.locator('#waiting').isHidden());
    assert.match(await text(page, '#simulated'), /simulated/i);
  });

  await t.step('list, head, chart, tape and pulse move', async () => {
    await changes(page, `${row('AAPL')} .c-last`);
    await changes(page, '#price');
    await changes(page, '#legend-volume, #legend-v');
    await page.waitForFunction(() => document.querySelectorAll('#tape .item').length > 3);
    await says(page, '#pulse-rate', /^[1-9]/);
    await says(page, '#pulse-screen', / (ms|s)$/);
  });

  await t.step('what is shown is what was published, to the last digit', async () => {
    await service.control('stale');
    const quotes = await agrees(page, service);
    assert.equal(quotes.length, 20);
    for (const q of quotes) {
      const sign = Math.sign(Number(q.change));
      assert.match(await text(page, `${row(q.symbol)} .c-percent`), sign > 0 ? /▲\s*\+/ : sign < 0 ? /▼\s*−/ : /·/, q.symbol);
    }
    await service.control('live');
  });

  await t.step('a symbol is chosen by mouse, keyboard and address', async () => {
    await page.locator(`${row('MSFT')} .c-last`).click();
    await says(page, '.who-symbol', /^MSFT$/);
    assert.match(page.url(), /#\/watch\/MSFT/);
    await page.locator(`${row('MSFT')} a`).focus();
    await page.keyboard.press('ArrowDown');
    await says(page, '.who-symbol', /^NFLX$/);
    assert.equal(await page.locator('#rows a[aria-current="true"]').innerText(), 'NFLX');
    await page.keyboard.press('/');
    await page.keyboard.type('bit');
    await page.waitForFunction(() => [...document.querySelectorAll('#rows tr')].filter((r) => r.offsetParent).map((r) => r.dataset.symbol).join() === 'BTC-USD');
    await page.keyboard.press('Escape');
    await page.waitForFunction(() => [...document.querySelectorAll('#rows tr')].filter((r) => r.offsetParent).length === 20);
    await page.evaluate(() => { location.hash = `#${encodeURIComponent('^GSPC')}`; });
    await says(page, '.who-symbol', /^\^GSPC$/);
    await page.evaluate(() => { location.hash = '#/watch/AAPL'; });
    await says(page, '.who-symbol', /^AAPL$/);
  });

  await t.step('intervals switch by key, with history, and the address tells', async () => {
    for (const [key, name] of [['2', '5m'], ['3', '15m'], ['4', '1h'], ['5', '1d'], ['1', '1m']]) {
      await page.keyboard.press(key);
      await page.waitForFunction((v) => document.querySelector(`#intervals input[value="${v}"]`).checked && !document.querySelector('#legend').hidden && document.querySelector('#chart-note').hidden, name);
    }
    await page.keyboard.press('2');
    await page.waitForFunction(() => /interval=5m/.test(location.hash));
    await t.shot(page, 'watch-dark');
  });

  await t.step('the past is scrolled to, and live come back to', async () => {
    await page.locator('#chart').hover();
    for (let i = 0; i < 12; i++) await page.mouse.wheel(-600, 0);
    await page.locator('#go-live').waitFor({ state: 'visible' });
    await page.locator('#go-live').click();
    await page.locator('#go-live').waitFor({ state: 'hidden' });
    await page.mouse.move(10, 400);
  });

  await t.step('the table behind the chart is there to be read, and saved as CSV', async () => {
    await page.locator('.chart-tools .table-button').click();
    await page.locator('#table[open] tbody tr').first().waitFor();
    assert.ok((await page.locator('#table tbody tr').count()) > 20);
    const [download] = await Promise.all([page.waitForEvent('download'), page.locator('#table button', { hasText: 'Save as CSV' }).click()]);
    assert.match(download.suggestedFilename(), /^ticktape-.*aapl.*\.csv$/);
    await page.keyboard.press('Escape');
    await page.locator('#table').waitFor({ state: 'hidden' });
  });
}
