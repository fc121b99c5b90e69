// What a person sees, in a real Chromium. dashboard/browser_test.go starts the
// dashboard with a market on a real Kafka and runs this; the market and the
// dashboard are told what to do at CONTROL_URL. Screenshots go to SHOTS.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const { DASHBOARD_URL: url, CONTROL_URL: control, SHOTS: shots, CHROMIUM: executablePath } = process.env;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

// A machine that runs all other tests beside is slow.
const limit = 45_000;

const browser = await chromium.launch({
  executablePath,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

const complaints = [];
let expectBroken = false;

async function open(hash = '', options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, colorScheme: 'dark', timezoneId: 'America/New_York', locale: 'en-US', ...options });
  context.setDefaultTimeout(limit);
  const page = await context.newPage();
  page.on('pageerror', (e) => complaints.push(e.message));
  page.on('console', (m) => {
    if (m.type() !== 'error') return;
    const network = /Failed to load resource|WebSocket connection to|net::ERR/.test(m.text());
    if (!network || !expectBroken) complaints.push(m.text());
  });
  return { page, context, go: () => page.goto(url + '/' + hash) };
}

async function tell(what) {
  const response = await fetch(`${control}/${what}`, { method: 'POST' });
  assert.equal(response.status, 200, `${what}: ${await response.text()}`);
}

const state = (page, want) => page.waitForFunction((w) => document.body.dataset.state === w, want, { timeout: limit });
const text = (page, selector) => page.locator(selector).innerText();
const changes = async (page, selector) => {
  const before = await text(page, selector);
  await page.waitForFunction(([s, b]) => document.querySelector(s).innerText !== b, [selector, before], { timeout: limit });
};
const shot = (page, name, options = {}) => page.screenshot({ path: `${shots}/${name}.png`, ...options });

async function accessible(page, where) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  const serious = violations.filter((v) => v.impact === 'serious' || v.impact === 'critical');
  assert.deepEqual(serious.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(' ') + ' ' + (n.any[0]?.message ?? '')).join('; ')}`), [], `axe-core on ${where}`);
}

async function fits(page, where) {
  const [wide, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(wide <= width, `${where}: ${wide} px in a window of ${width}`);
}

let failed = 0;
let passed = 0;
async function step(name, f) {
  const start = Date.now();
  try {
    await f();
    passed++;
    console.log(`ok   ${name} (${Date.now() - start} ms)`);
  } catch (e) {
    failed++;
    console.log(`FAIL ${name}: ${e.stack}`);
    await shot(page, `failed-${failed}`).catch(() => {});
  }
}

const { page, context, go } = await open();

await step('before the first tick the page says what it waits for', async () => {
  await go();
  await state(page, 'waiting');
  assert.equal(await page.locator('#step-dashboard').getAttribute('data-done'), 'yes');
  assert.equal(await page.locator('#step-kafka').getAttribute('data-done'), 'yes');
  assert.ok(await page.locator('#waiting').isVisible());
  assert.ok(await page.locator('#simulated').isHidden(), 'nothing is simulated yet');
  await accessible(page, 'the page before the first tick');
  await shot(page, 'waiting-dark');
});

await step('the first ticks appear by themselves, marked as simulated', async () => {
  await tell('market/start');
  await state(page, 'live');
  await page.waitForFunction(() => document.querySelectorAll('#rows tr').length === 20);
  assert.ok(await page.locator('#waiting').isHidden());
  assert.ok(await page.locator('#simulated').isVisible());
  assert.match(await text(page, '#simulated'), /simulated/i);
});

await step('list, head, chart, tape and pulse move', async () => {
  await changes(page, '#rows tr[data-symbol="AAPL"] .last');
  await changes(page, '#price');
  await changes(page, '#legend-volume');
  await page.waitForFunction(() => document.querySelectorAll('#tape .item').length > 3);
  await page.waitForFunction(() => /^[1-9]/.test(document.querySelector('#pulse-rate').innerText));
  await page.waitForFunction(() => / ms$| s$/.test(document.querySelector('#pulse-screen').innerText));
  const before = await page.locator('#chart').screenshot();
  await changes(page, '#legend-close');
  await page.waitForTimeout(100); // for the frame that draws it
  assert.notDeepEqual(await page.locator('#chart').screenshot(), before, 'the chart has not moved');
});

await step('what is shown is what was published, to the last digit', async () => {
  await tell('market/pause');
  try {
    await exact();
  } finally {
    await tell('market/resume');
  }
});

async function exact() {
  const settled = async () => (await (await fetch(`${url}/api/snapshot`)).json()).quotes;
  let quotes = await settled();
  for (let before; JSON.stringify(before) !== JSON.stringify(quotes); ) {
    before = quotes;
    await page.waitForTimeout(400);
    quotes = await settled();
  }
  for (const q of quotes) {
    const shown = `#rows tr[data-symbol="${q.symbol}"] .last`;
    const decimals = { 'EURUSD=X': 5 }[q.symbol] ?? 2;
    const [whole, fraction = ''] = q.price.split('.');
    const want = Number(whole).toLocaleString('en-US') + '.' + fraction.padEnd(decimals, '0');
    await page.waitForFunction(([s, w]) => document.querySelector(s)?.innerText === w, [shown, want], { timeout: limit }).catch(async () => {
      assert.equal(await text(page, shown), want, q.symbol);
    });
    const sign = Math.sign(Number(q.change));
    const percent = await text(page, `#rows tr[data-symbol="${q.symbol}"] .percent`);
    assert.match(percent, sign > 0 ? /▲\s*\+/ : sign < 0 ? /▼\s*−/ : /·/, `${q.symbol} ${percent}`);
  }
  const last = quotes.find((q) => q.symbol === 'AAPL').windows.at(-1);
  assert.equal((await text(page, '#legend-close')).replaceAll(',', ''), Number(last.close).toFixed(2));
}

await step('a symbol is chosen by mouse, keyboard and address', async () => {
  await page.locator('#rows tr[data-symbol="MSFT"]').click();
  assert.match(page.url(), /#MSFT$/);
  assert.match(await text(page, '#chart-title'), /MSFT\s+Microsoft/);
  await page.locator('#rows tr[data-symbol="MSFT"] a').focus();
  await page.keyboard.press('ArrowDown');
  assert.match(page.url(), /#NFLX$/);
  assert.equal(await page.locator('#rows a[aria-current="true"]').innerText(), 'NFLX');
  await page.keyboard.press('/');
  await page.keyboard.type('bit');
  assert.deepEqual(await page.locator('#rows tr:visible a').allInnerTexts(), ['BTC-USD']);
  await page.keyboard.press('Escape');
  assert.equal(await page.locator('#rows tr:visible').count(), 20);
  await page.evaluate(() => { location.hash = '#' + encodeURIComponent('^GSPC'); });
  await page.waitForFunction(() => document.querySelector('#symbol').innerText === '^GSPC');
  await page.evaluate(() => { location.hash = '#AAPL'; });
});

await step('intervals switch by key and by pointer, with history', async () => {
  for (const [key, name] of [['2', '5m'], ['3', '15m'], ['4', '1h'], ['5', '1d'], ['1', '1m']]) {
    await page.keyboard.press(key);
    assert.ok(await page.locator(`#intervals input[value="${name}"]`).isChecked());
    await page.waitForFunction(() => document.querySelector('#chart-note').hidden && !document.querySelector('#legend').hidden);
    await shot(page, `interval-${name}`);
  }
  await page.locator('#intervals label', { hasText: /^5m$/ }).click();
  await changes(page, '#legend-close');
  await page.locator('#intervals label', { hasText: /^1m$/ }).click();
  await page.waitForFunction(() => document.querySelector('#chart-note').hidden);
});

await step('the past is scrolled to, and live come back to', async () => {
  await page.locator('#chart').hover();
  for (let i = 0; i < 12; i++) await page.mouse.wheel(-600, 0);
  await shot(page, 'past');
  await page.locator('#go-live').waitFor({ state: 'visible' });
  await page.locator('#go-live').click();
  await page.locator('#go-live').waitFor({ state: 'hidden' });
  await page.mouse.move(10, 400);
});

await step('the page is usable without sight of it, dark and light', async () => {
  await accessible(page, 'the dark page');
  await page.emulateMedia({ colorScheme: 'light' });
  await accessible(page, 'the light page');
  await shot(page, 'live-light');
  await page.emulateMedia({ colorScheme: 'dark' });
  await page.waitForTimeout(700);
  await shot(page, 'live-dark');
});

await step('a phone gets one column', async () => {
  const phone = await open('#BTC-USD', { viewport: { width: 375, height: 812 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true });
  await phone.go();
  await state(phone.page, 'live');
  await phone.page.waitForFunction(() => document.querySelectorAll('#rows tr').length === 20 && !document.querySelector('#legend').hidden);
  await fits(phone.page, 'a phone');
  await shot(phone.page, 'phone');
  await phone.page.evaluate(() => scrollTo(0, 700));
  await phone.page.waitForTimeout(300);
  const box = await phone.page.locator('#simulated').boundingBox();
  assert.ok(box.y >= 0 && box.y < 5, 'the mark of simulated data scrolls away');
  await shot(phone.page, 'phone-scrolled');
  await accessible(phone.page, 'a phone');
  await phone.context.close();
});

await step('narrow and wide windows fit', async () => {
  for (const width of [320, 720, 721, 960, 1100, 1920]) {
    await page.setViewportSize({ width, height: 900 });
    await page.waitForTimeout(150);
    await fits(page, `${width} px`);
    if (width === 1100) await shot(page, 'mid');
  }
  await page.setViewportSize({ width: 1440, height: 900 });
});

await step('where WebSockets are blocked the page lives on server-sent events', async () => {
  const other = await open();
  await other.page.addInitScript(() => {
    window.WebSocket = class {
      constructor() { setTimeout(() => this.onclose?.(), 5); }
      close() {}
    };
  });
  await other.go();
  await state(other.page, 'live');
  assert.match(await other.page.locator('#state').getAttribute('title'), /server-sent events/);
  await changes(other.page, '#rows tr[data-symbol="AAPL"] .last');
  await other.context.close();
});

await step('an unknown symbol is said to be unknown', async () => {
  const other = await open('#NOPE');
  expectBroken = true; // the console tells of a 404
  await other.go();
  await other.page.waitForFunction(() => /No trade of NOPE was ever seen/.test(document.querySelector('#chart-note').innerText));
  await shot(other.page, 'unknown');
  await other.context.close();
  expectBroken = false;
});

await step('while history is away the live windows are shown, and it is said', async () => {
  await tell('history/off');
  await page.locator('#rows tr[data-symbol="KO"]').click();
  await page.waitForFunction(() => /History can't be shown/.test(document.querySelector('#chart-note').innerText) && !document.querySelector('#legend').hidden);
  await shot(page, 'history-away');
  await tell('history/on');
  await page.locator('#rows tr[data-symbol="AAPL"]').click();
});

await step('a network that goes away and comes back is noticed', async () => {
  expectBroken = true;
  await context.setOffline(true);
  await state(page, 'offline');
  await shot(page, 'offline');
  await context.setOffline(false);
  await state(page, 'live');
  await changes(page, '#rows tr[data-symbol="AAPL"] .last');
  expectBroken = false;
});

await step('a dashboard that is killed is reconnected to, and its successor goes on', async () => {
  expectBroken = true;
  await tell('dashboard/kill');
  await state(page, 'reconnecting');
  assert.match(await text(page, '#state'), /Reconnecting/);
  assert.match(await text(page, '#notice'), /does not answer.*as of \d/s);
  await shot(page, 'reconnecting');
  await accessible(page, 'the page while it reconnects');
  await tell('dashboard/start');
  await state(page, 'live');
  expectBroken = false;
  assert.ok(await page.locator('#notice').isHidden());
  await changes(page, '#rows tr[data-symbol="AAPL"] .last');
  await changes(page, '#legend-volume');
});

await step('a market that stops is said to be stale', async () => {
  await tell('market/pause');
  await page.waitForFunction(() => document.body.dataset.state === 'stale', null, { timeout: 60_000 });
  assert.match(await text(page, '#state'), /No update for \d+/);
  await shot(page, 'stale');
  await accessible(page, 'the page with stale prices');
  await tell('market/resume');
  await state(page, 'live');
});

await step('real and simulated symbols side by side are told apart', async () => {
  await tell('market/real');
  await page.waitForFunction(() => document.body.dataset.simulated === 'some');
  assert.match(await text(page, '#simulated'), /of 20 symbols/);
  const marks = await page.locator('#rows .sim:visible').count();
  assert.ok(marks > 0 && marks < 20, `${marks} marks`);
  await shot(page, 'mixed');
});

await step('nothing was complained of', async () => assert.deepEqual(complaints, []));

await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
