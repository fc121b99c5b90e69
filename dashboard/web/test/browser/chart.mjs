// What the chart draws, how the list is arranged, and how both remember.
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { changes, fits, says, settled, state, text, until } from './harness.mjs';
import { Scripted } from './scripted.mjs';

/** The table behind a toolbar's CSV button, as lines of cells. */
async function csv(page, tools) {
  const [download] = await Promise.all([page.waitForEvent('download'), page.locator(`${tools} button`, { hasText: /^CSV$/ }).click()]);
  return (await readFile(await download.path(), 'utf8')).trim().split('\r\n').map((l) => l.split(','));
}

const shown = (page) => page.locator('#rows tr').evaluateAll((rows) => rows.map((r) => r.dataset.symbol));

export default async function chart(t) {
  // Here and not of the service's own making: the test ends it without warning.
  const secrets = (process.env.SECRETS_DIR = await mkdtemp(join(tmpdir(), 'ticktape-')));
  await writeFile(join(secrets, 'trigger-token'), 'made-up');
  try {
    await scenes(t);
  } finally {
    await rm(secrets, { recursive: true });
  }
}

async function scenes(t) {
  const service = await t.service();
  const page = await t.page({ url: service.url, hash: '#/watch/AAPL', viewport: { width: 1440, height: 900 } });
  await state(page, 'live');
  await page.locator('#legend').waitFor();

  await t.step('indicators are switched on, named in the legend and kept in the address', async () => {
    await page.locator('#indicators-button').click();
    for (const name of ['vwap', 'sma', 'ema', 'bb', 'rsi']) await page.locator(`#indicators input[name="${name}"]`).check();
    await page.locator('#indicators input[name="sma-length"]').fill('5, 12');
    await page.locator('#indicators input[name="sma-length"]').blur();
    await says(page, '.legend-lines', /VWAP.*\d.*SMA 5.*\d.*SMA 12.*\d.*EMA 21.*\d.*BB 20, 2.*\d · \d.*RSI 14.*\d/);
    assert.match(page.url(), /with=volume,vwap,sma:5:12,ema:21,bb:20:2,rsi:14/);
    await page.keyboard.press('Escape');
    await page.locator('#indicators').waitFor({ state: 'hidden' });
    await page.mouse.move(10, 500);
    await t.shot(page, 'chart-indicators');
    await changes(page, '.legend-lines');
    await page.reload();
    await says(page, '.legend-lines', /VWAP.*SMA 12.*RSI 14/);
  });

  await t.step('VWAP is that of the whole session, though the chart shows its end', async () => {
    await service.control('stale');
    await settled(service, 'AAPL');
    const { day } = await service.get('/api/candles?symbol=AAPL&interval=1d');
    let { candles, windows } = await service.get('/api/candles?symbol=AAPL&interval=1m');
    while (candles[0].start > day.start) candles = [...(await service.get(`/api/candles?symbol=AAPL&interval=1m&before=${candles[0].start}`)).candles, ...candles];
    const session = [...candles.filter((c) => c.start < windows[0].start), ...windows].filter((c) => c.start >= day.start);
    const sum = (key) => session.reduce((total, c) => total + Number(c[key]), 0);
    await says(page, '.legend-lines', new RegExp(`VWAP\\s*${(sum('turnover') / sum('volume')).toFixed(2).replace('.', '\\.')}`));
    await service.control('live');
  });

  await t.step('symbols are compared in percent, and no more', async () => {
    for (const symbol of ['MSFT', 'spy']) {
      await page.locator('#compare-button').click();
      await page.locator('.add-form:popover-open input').fill(symbol);
      await page.keyboard.press('Enter');
    }
    await says(page, '.legend-lines', /MSFT\s*[+−]?\d+\.\d\d %.*SPY\s*[+−]?\d+\.\d\d %/);
    assert.match(page.url(), /compare=MSFT,SPY/);
    await t.shot(page, 'chart-compare');
    await page.locator('#compare-button').click();
    await page.locator('.add-form:popover-open input').fill('NOPE');
    await page.keyboard.press('Enter');
    await says(page, '.add-form:popover-open .problem', /NOPE has no data here/);
    await page.keyboard.press('Escape');
    for (const symbol of ['MSFT', 'SPY']) await page.getByRole('button', { name: `Compare with ${symbol} no more` }).click();
    await page.waitForFunction(() => !/MSFT|SPY/.test(document.querySelector('.legend-lines').innerText) && !/compare=/.test(location.hash));
  });

  await t.step('a late trade corrects its candle', async () => {
    await service.control('stale');
    const minutes = async () => {
      await settled(service, 'AAPL');
      return (await service.get('/api/candles?symbol=AAPL&interval=1m')).windows.slice(-8).map((w) => [new Date(w.start).toISOString(), w.volume]);
    };
    const agrees = (want) => until('the chart shows what the service tells', async () => {
      const rows = (await csv(page, '.chart-tools')).slice(1).map((r) => [r[0], r[5]]);
      return { done: JSON.stringify(rows.slice(-want.length)) === JSON.stringify(want), rows: rows.slice(-want.length), want };
    });
    const before = await minutes();
    await agrees(before);
    await service.control('late');
    const after = await minutes();
    const corrected = after.filter(([start, volume]) => before.some((b) => b[0] === start && b[1] !== volume));
    assert.equal(corrected.length, 1, 'the service took a trade of three minutes ago');
    await agrees(after);
    await service.control('live');
  });

  await t.step('the past is loaded on demand, page by page', async () => {
    const asked = [];
    page.on('request', (r) => r.url().includes('before=') && asked.push(Number(new URL(r.url()).searchParams.get('before'))));
    const first = async () => (await csv(page, '.chart-tools'))[1][0];
    const was = await first();
    await page.locator('#chart').hover();
    await until('older candles come into sight', async () => {
      for (let i = 0; i < 20; i++) await page.mouse.wheel(-900, 0);
      return { done: asked.length >= 2 && (await first()) < was, asked };
    });
    assert.ok(asked[1] < asked[0], `each page is older than the one before: ${asked}`);
    await page.locator('#go-live').click();
    await page.locator('#go-live').waitFor({ state: 'hidden' });
    await page.mouse.move(10, 500);
  });

  await t.step('times are by the exchange, by this device or UTC', async () => {
    await page.locator('#chart').focus();
    const hour = async () => Number((await text(page, '#legend-time')).match(/(\d\d):\d\d$/)[1]);
    await says(page, '#clock-zone', /^E[SD]T$/);
    const there = await hour();
    await page.locator('#zone').click();
    await page.locator('#zone').click();
    await says(page, '#clock-zone', /^UTC$/);
    await until('the legend is in UTC', async () => ({ done: [4, 5].includes(((await hour()) - there + 24) % 24), hour: await hour(), there }));
    await page.locator('#zone').click();
    await says(page, '#clock-zone', /^E[SD]T$/);
  });

  await t.step('the list is sorted by any column, filtered, and saved as it is shown', async () => {
    for (const [column, key] of [['percent', 'percent'], ['last', 'price'], ['volume', 'volume']]) {
      await service.control('stale');
      const { quotes } = await settled(service);
      const number = (q) => (q[key] === undefined ? -Infinity : Number(q[key]));
      const want = [...quotes].sort((a, b) => number(b) - number(a) || (a.symbol < b.symbol ? -1 : 1)).map((q) => q.symbol);
      await page.locator(`.rows thead .c-${column} button`).click();
      await page.mouse.move(10, 10);
      await until(`sorted by ${column}`, async () => ({ done: JSON.stringify(await shown(page)) === JSON.stringify(want), shown: await shown(page), want }));
      assert.equal(await page.locator(`.rows thead .c-${column}`).getAttribute('aria-sort'), 'descending');
      assert.match(page.url(), new RegExp(`sort=-${column}`));
      assert.deepEqual((await csv(page, '.list-tools')).slice(1).map((r) => r[0]), want);
    }
    await page.locator('#filter').fill('inc');
    await page.waitForFunction(() => /filter=inc/.test(location.hash) && document.querySelectorAll('#rows tr').length < 15);
    await page.reload();
    await page.waitForFunction(() => document.querySelector('#filter').value === 'inc' && document.querySelectorAll('#rows tr').length > 0);
    assert.ok((await page.locator('#rows tr .name').allTextContents()).every((n) => /inc/i.test(n)));
    await page.locator('#filter').press('Escape');
    await service.control('live');
  });

  await t.step('symbols are removed, brought back and added', async () => {
    page.expectBroken = true; // a symbol that was just added has no candles yet: 404
    await page.locator('#rows tr[data-symbol="DIS"]').hover();
    await page.getByRole('button', { name: 'Remove DIS from the watch list' }).click();
    await page.locator('#rows tr[data-symbol="DIS"]').waitFor({ state: 'detached' });
    await page.locator('.list-note button', { hasText: 'Undo' }).click();
    await page.locator('#rows tr[data-symbol="DIS"]').waitFor();
    await page.locator('.list .add').click();
    await page.locator('.add-form:popover-open input').fill('sap.de');
    await page.keyboard.press('Enter');
    // It says so until it trades, which the made-up market has it do soon.
    await says(page, '#rows tr[data-symbol="SAP.DE"]', /No data yet|\d\.\d\d/);
    await says(page, '.who-symbol', /^SAP\.DE$/);
    await says(page, '#rows tr[data-symbol="SAP.DE"] .c-last', /\d\.\d\d/);
    page.expectBroken = false;
  });

  await t.step('rows of symbols that are stale, halted, unknown or without data look it', async () => {
    const odd = new Scripted();
    const whole = odd.quote.bind(odd);
    const ago = { MSFT: 5, NVDA: 30 };
    odd.quote = (s, all) => ({ ...whole(s, all), ...(ago[s.symbol] ? { time: Date.now() - ago[s.symbol] * 60_000 } : {}) });
    const list = odd.api['/api/watchlist'];
    odd.api['/api/watchlist'] = () => ({ rev: 1, symbols: [...list().symbols, { symbol: 'NOPE', name: '', exchange: '', state: 'unknown', reason: 'Yahoo does not know it', shown: false }, { symbol: 'SOON', name: '', exchange: '', state: 'active', reason: '', shown: false }] });
    const other = await t.page({ scripted: odd, hash: '#/watch/AAPL' });
    for (const [symbol, kind, words] of [['AAPL', 'live', /Apple/], ['MSFT', 'stale', /5 min ago/], ['NVDA', 'halted', /No trade 30 min/], ['NOPE', 'unknown', /Yahoo does not know it/], ['SOON', 'none', /No data yet/]]) {
      await says(other, `#rows tr[data-symbol="${symbol}"]`, words);
      assert.equal(await other.locator(`#rows tr[data-symbol="${symbol}"]`).getAttribute('data-state'), kind, symbol);
    }
    await t.shot(other, 'rows-states');
    await t.release(other);
  });

  await t.step('a phone shows the list, a symbol’s chart, and the way back', async () => {
    const phone = await t.page({ url: service.url, viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true });
    await phone.locator('#rows tr[data-symbol="KO"] .c-last').tap();
    await says(phone, '.who-symbol', /^KO$/);
    assert.ok(await phone.locator('.list').isHidden());
    await phone.locator('#legend').waitFor();
    await fits(phone, 'the chart on a phone');
    await t.shot(phone, 'phone-chart');
    await phone.goBack();
    await phone.locator('.list').waitFor();
    // No finger meets a button that can't be seen: this one only leads to the chart, where the button is.
    const cell = await phone.locator('#rows tr[data-symbol="JPM"] .c-symbol').boundingBox();
    await phone.touchscreen.tap(cell.x + cell.width - 8, cell.y + cell.height / 2);
    await says(phone, '.who-symbol', /^JPM$/);
    await phone.getByRole('button', { name: 'Remove JPM from the watch list' }).tap();
    await phone.locator('#rows tr[data-symbol="JPM"]').waitFor({ state: 'detached' });
    await phone.locator('.list-note button', { hasText: 'Undo' }).tap();
    await phone.locator('#rows tr[data-symbol="JPM"]').waitFor();
    assert.ok(await phone.locator('.detail').isHidden());
    await fits(phone, 'the list on a phone');
    await t.shot(phone, 'phone-list');
    await t.release(phone);
  });
}
