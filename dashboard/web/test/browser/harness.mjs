// What the scenes of the browser's test share: a browser, pages that are watched
// for complaints, and checks that say what is wrong where they fail.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const built = fileURLToPath(new URL('../../dist/page', import.meta.url));

// A machine that runs all other tests beside is slow. Only what fails waits for so long.
export const limit = 60_000;

export const launch = () => chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--js-flags=--expose-gc'],
});

async function freePort() {
  const s = createServer();
  await new Promise((resolve) => s.listen(0, '127.0.0.1', resolve));
  const { port } = s.address();
  await new Promise((resolve) => s.close(resolve));
  return port;
}

// None outlives this program, however it ends.
const children = new Set();
process.on('exit', () => { for (const child of children) child.kill('SIGKILL'); });

/** The made-up dashboard (dashboard/feedtest/serve): the real service and page on a market of its own, without Kafka. */
export class Service {
  /** symbols, and rate in trades a second. */
  static async start({ symbols = 20, rate = 20 } = {}) {
    const s = new Service();
    s.port = await freePort();
    s.env = { STAGE_ADDR: `127.0.0.1:${s.port}`, STAGE_SYMBOLS: String(symbols), STAGE_RATE: String(rate) };
    s.url = `http://127.0.0.1:${s.port}`;
    await s.run();
    return s;
  }

  async run() {
    this.said = '';
    this.child = spawn(process.env.SERVE, { env: { ...process.env, ...this.env }, stdio: ['ignore', 'pipe', 'pipe'] });
    const { child } = this;
    children.add(child);
    child.once('exit', () => children.delete(child));
    for (const stream of [this.child.stdout, this.child.stderr]) stream.on('data', (b) => { this.said = (this.said + b).slice(-4_000); });
    const start = Date.now();
    for (;;) {
      if (this.child.exitCode !== null || Date.now() - start > limit) throw new Error(`the made-up dashboard does not run: ${this.said}`);
      try {
        if ((await fetch(`${this.url}/api/status`)).ok) return;
      } catch {
        // not yet
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Has it show a state; GET /control/ lists them. */
  async control(state) {
    const response = await fetch(`${this.url}/control/${state}`, { method: 'POST' });
    assert.ok(response.ok, `control ${state}: ${response.status} ${await response.text()}`);
  }

  async get(path) {
    return (await fetch(this.url + path)).json();
  }

  /** Ends it as a crash would. */
  async kill() {
    const gone = new Promise((resolve) => this.child.once('exit', resolve));
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill('SIGKILL');
      await gone;
    }
  }
}

// What a page does before its own scripts run: it takes the settings that its address
// brings, once, and its clock can be put ahead.
function prepare() {
  const as = new URLSearchParams(location.search).get('as');
  if (as !== null && sessionStorage.getItem('as') !== as) {
    sessionStorage.setItem('as', as);
    localStorage.clear();
    localStorage.setItem('ticktape', as.slice(as.indexOf('{')));
  }
  const real = Date.now.bind(Date);
  let ahead = 0;
  Date.now = () => real() + ahead;
  window.skip = (ms) => { ahead += ms; };
}

/**
 * Pages for scenes, one scene after the other. Opening a page takes a browser ten
 * times as long as leading one somewhere else, so pages of a kind are used again.
 */
export class Pages {
  #browser;
  #free = new Map();
  #count = 0;

  constructor(browser) {
    this.#browser = browser;
  }

  /** Opens a page at the url's hash; holder is told what it complains of. options are Playwright's of a context, in which the page is alone. */
  async take(holder, { hash, url, settings, expectBroken, scripted, before, viewport, reducedMotion, ...options }) {
    const kind = before ? null : JSON.stringify([Boolean(scripted), options]);
    const page = this.#free.get(kind)?.pop() ?? (await this.#open(Boolean(scripted), options, before));
    Object.assign(page, { kind, holder, expectBroken, scripted });
    await page.setViewportSize(viewport);
    await page.emulateMedia({ colorScheme: 'dark', reducedMotion });
    this.#count++;
    const as = `${this.#count}${JSON.stringify({ theme: 'dark', motion: 'less', ...settings })}`;
    // An origin of its own has nothing stored.
    await page.goto(`${scripted ? `http://127.0.0.1:${20_000 + this.#count}` : url}/?${new URLSearchParams({ as })}${hash}`);
    return page;
  }

  /** Takes a page back. */
  async release(page) {
    page.scripted?.end();
    Object.assign(page, { holder: null, scripted: null });
    if (page.kind === null) {
      await page.context().close();
      return;
    }
    // Somewhere where nothing moves.
    await page.goto(new URL('/icon.svg', page.url()).href).catch(() => page.goto('about:blank'));
    if (!this.#free.has(page.kind)) this.#free.set(page.kind, []);
    this.#free.get(page.kind).push(page);
  }

  async #open(scripted, options, before) {
    const context = await this.#browser.newContext({ timezoneId: 'America/New_York', locale: 'en-US', ...options });
    context.setDefaultTimeout(limit);
    context.setDefaultNavigationTimeout(limit);
    const page = await context.newPage();
    page.on('pageerror', (e) => page.holder?.complain(`${e.message} ${e.stack?.split('\n').slice(1, 6).join(' ') ?? ''}`));
    page.on('console', (m) => {
      if (m.type() !== 'error') return;
      const network = /Failed to load resource|WebSocket connection to|net::ERR/.test(m.text());
      if (!network || !page.expectBroken) page.holder?.complain(m.text());
    });
    await page.addInitScript(prepare);
    if (scripted) {
      await serveBuilt(page, (path, request) => page.scripted?.api[path]?.(request));
      await page.routeWebSocket(/\/api\/ws/, (ws) => page.scripted?.accept(ws));
    }
    await before?.(page);
    return page;
  }
}

/** One file of scenes: its pages, what they complained of, and its steps. */
export class Stage {
  passed = 0;
  failed = 0;
  lines = [];
  #pages;
  #file;
  #complaints = [];
  #held = [];
  #closing = [];

  constructor(pages, file) {
    this.#pages = pages;
    this.#file = file;
  }

  /**
   * Gives a page that shows the service at the url, or one whose service is scripted; before prepares a page that no other scene has.
   * expectBroken silences what the browser itself says of a network that is cut.
   */
  async page({ hash = '', url = '', settings = {}, expectBroken = false, scripted = null, before, viewport = { width: 1280, height: 800 }, reducedMotion = 'no-preference', ...options } = {}) {
    const page = await this.#pages.take(this, { hash, url, settings, expectBroken, scripted, before, viewport, reducedMotion, ...options });
    this.#held.push(page);
    return page;
  }

  /** Gives a page back; where a scene fails it is the stage that does. */
  async release(page) {
    this.#held = this.#held.filter((p) => p !== page);
    await this.#pages.release(page);
  }

  complain(what) {
    this.#complaints.push(what);
  }

  async service(options) {
    const s = await Service.start(options);
    this.#closing.push(() => s.kill());
    return s;
  }

  async step(name, f) {
    const start = Date.now();
    try {
      await f();
      this.passed++;
      this.lines.push(`ok   ${this.#file}: ${name} (${Date.now() - start} ms)`);
    } catch (e) {
      this.failed++;
      const picture = `failed-${this.#file}-${this.failed}.png`;
      await this.#held.at(-1)?.screenshot({ path: `${process.env.SHOTS}/${picture}` }).catch(() => {});
      this.lines.push(`FAIL ${this.#file}: ${name} (screenshot ${picture})\n     ${String(e.stack).replaceAll('\n', '\n     ')}`);
    }
    if (this.#complaints.length > 0) {
      this.failed++;
      this.lines.push(`FAIL ${this.#file}: the browser complained during "${name}": ${this.#complaints.join(' | ')}`);
      this.#complaints = [];
    }
  }

  shot(page, name, options = {}) {
    return page.screenshot({ path: `${process.env.SHOTS}/${name}.png`, ...options });
  }

  async end() {
    for (const page of this.#held) await this.release(page);
    for (const f of this.#closing) await f();
  }
}

export const state = (page, want) => page.waitForFunction((w) => document.body.dataset.state === w, want, { timeout: limit });

export const text = (page, selector) => page.locator(selector).first().innerText();

/** Waits until something is so; f tells whether it is done, and what there is to be seen where it never is. */
export async function until(what, f, pause = 100) {
  const start = Date.now();
  let seen;
  while (!(seen = await f()).done) {
    if (Date.now() - start > limit) assert.fail(`${what}: ${JSON.stringify(seen)}`);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

/** Waits until what is written there is another text. */
export async function changes(page, selector) {
  const before = await text(page, selector);
  await page.waitForFunction(([s, b]) => document.querySelector(s)?.innerText !== b, [selector, before], { timeout: limit });
}

/** Waits until what is written there matches, and says what is written where it never does. */
export async function says(page, selector, pattern) {
  await page.waitForFunction(([s, p]) => new RegExp(p, 's').test(document.querySelector(s)?.innerText ?? ''), [selector, pattern.source], { timeout: limit }).catch(async () => {
    assert.fail(`${selector} says ${JSON.stringify(await text(page, selector).catch(() => null))}, which does not match ${pattern}`);
  });
}

/** The service's snapshot, once a market that was stilled lies still. */
export async function settled(service, symbols = '') {
  let snapshot;
  for (let before = null; JSON.stringify(before) !== JSON.stringify(snapshot?.quotes); ) {
    before = snapshot?.quotes;
    await new Promise((resolve) => setTimeout(resolve, 250));
    snapshot = await service.get(`/api/snapshot?symbols=${symbols}`);
  }
  return snapshot;
}

/** Waits until the list shows of each symbol, or of all, what the service last published, to the last digit; returns the quotes. */
export async function agrees(page, service, symbols = '') {
  const start = Date.now();
  for (;;) {
    const { quotes } = await service.get(`/api/snapshot?symbols=${symbols}`);
    const wrong = [];
    const shown = await page.evaluate((names) => names.map((s) => document.querySelector(`#rows tr[data-symbol="${s}"] .c-last`)?.textContent.trim()), quotes.map((q) => q.symbol));
    quotes.forEach((q, i) => {
      const [whole, fraction = ''] = q.price.split('.');
      const want = `${Number(whole).toLocaleString('en-US')}.${fraction.padEnd({ 'EURUSD=X': 5 }[q.symbol] ?? 2, '0')}`;
      if (shown[i] !== want) wrong.push(`${q.symbol} shows ${shown[i]}, not ${want}`);
    });
    if (wrong.length === 0) return quotes;
    assert.ok(Date.now() - start < limit, wrong.join('; '));
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** Holds the page, or only what `part` selects, against axe-core's rules, or only the rule that is named. */
export async function accessible(page, where, { part = null, rule = null } = {}) {
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(axeSource);
  const { violations } = await page.evaluate(([p, r]) => window.axe.run(p ? { include: p.map((x) => [x]) } : document, { resultTypes: ['violations'], ...(r ? { runOnly: { type: 'rule', values: [r] } } : {}) }), [part, rule]);
  const serious = violations.filter((v) => v.impact === 'serious' || v.impact === 'critical');
  assert.deepEqual(serious.map((v) => `${v.id}: ${v.nodes.slice(0, 4).map((n) => `${n.target.join(' ')} ${n.any[0]?.message ?? n.none[0]?.message ?? ''}`).join('; ')}`), [], `axe-core on ${where}`);
}

/** Nothing reaches over the window's side. */
export async function fits(page, where) {
  const [wide, width, who] = await page.evaluate(() => [
    document.documentElement.scrollWidth, innerWidth,
    document.documentElement.scrollWidth > innerWidth && [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && getComputedStyle(e).position !== 'fixed').slice(0, 3).map((e) => e.className || e.tagName),
  ]);
  assert.ok(wide <= width, `${where}: ${wide} px in a window of ${width}, as with ${who}`);
}

export async function theme(page, name, palette = 'classic') {
  await page.evaluate(([t, p]) => {
    localStorage.setItem('ticktape', JSON.stringify({ ...JSON.parse(localStorage.getItem('ticktape') ?? '{}'), theme: t, palette: p }));
    // As another tab would tell it.
    dispatchEvent(new StorageEvent('storage', { key: 'ticktape' }));
  }, [name, palette]);
  await page.waitForFunction(([t, p]) => document.documentElement.dataset.theme === t && document.documentElement.dataset.palette === p, [name, palette]);
}

const types = { js: 'text/javascript', css: 'text/css', html: 'text/html', woff2: 'font/woff2', svg: 'image/svg+xml', txt: 'text/plain' };

/** Serves the built page to a page whose service is scripted. */
export async function serveBuilt(page, api) {
  await page.route('**/*', (route) => {
    const { pathname } = new URL(route.request().url());
    if (pathname.startsWith('/api/')) {
      const body = api(pathname, route.request());
      return body === undefined ? route.fulfill({ status: 404, json: { detail: 'There is no such thing.' } }) : route.fulfill({ json: body });
    }
    const file = built + (pathname === '/' ? '/index.html' : pathname);
    return existsSync(file) ? route.fulfill({ body: readFileSync(file), contentType: types[file.split('.').pop()] ?? 'application/octet-stream' }) : route.fulfill({ status: 404 });
  });
}

export function shotsFolder() {
  mkdirSync(process.env.SHOTS, { recursive: true });
}
