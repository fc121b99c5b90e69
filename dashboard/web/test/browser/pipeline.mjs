// The pipeline view.
import assert from 'node:assert/strict';
import { changes, says, state, text, until } from './harness.mjs';
import { pipeline, Scripted } from './scripted.mjs';

const part = (id) => `.part[data-id="${id}"]`;

export default async function pipelineView(t) {
  const service = await t.service();
  const page = await t.page({ url: service.url, hash: '#/pipeline', viewport: { width: 1280, height: 1400 } });
  await state(page, 'live');

  await t.step('the picture shows the parts at work, with live figures', async () => {
    await says(page, `${part('process')} .part-figure`, /^[\d.,]+\s*ticks\/s/);
    for (const id of ['fetch', 'ticks', 'process', 'persist', 'windows', 'dashboard', 'browser']) assert.ok(await page.locator(part(id)).isVisible(), id);
    await says(page, `${part('ticks')} .part-state`, /^up$/);
    await changes(page, `${part('ticks')} .part-facts`);
    const lines = await page.evaluate(() => [...document.querySelectorAll('.flow-line:not([data-hidden])')].map((p) => p.getTotalLength()));
    assert.ok(lines.length >= 11 && lines.every((n) => n > 5), `the lines between them: ${lines}`);
  });

  await t.step('this browser measures its own end of the latency', async () => {
    await says(page, '.hero dd', /^[\d.]+ (ms|s)$/);
    await says(page, '.latency-whole .latency-figure', /^[\d.]+ (ms|s)$/);
    await says(page, '.hero-about', /[1-9]\d* ticks painted .* within [\d.]+ ms/);
    await page.waitForFunction(() => [...document.querySelectorAll('.latency-row svg')].filter((s) => s.querySelector('.latency-bars').getAttribute('d') !== '').length >= 5);
    await t.shot(page, 'pipeline-dark');
  });

  await t.step('lag is seen by function and partition', async () => {
    await service.control('lag');
    await page.waitForFunction(() => [...document.querySelectorAll('.functions tbody tr:first-child .lag b')].some((b) => Number(b.textContent) > 0));
    assert.equal(await page.locator('.functions tbody tr:first-child .lag').count(), 12);
    await service.control('live');
    await says(page, '.functions tbody tr:first-child td', /^0$|^[1-9]\d?$/);
  });

  await t.step('a dead letter appears with its reason, and its text does nothing but stand there', async () => {
    await service.control('dead-letter');
    await page.locator('.letter').first().waitFor();
    assert.match(await text(page, '.letter-reason'), /not a tick: no price/);
    await page.locator('.letter summary').first().focus();
    await page.keyboard.press('Enter');
    assert.ok(await page.locator('.letter[open]').isVisible());
    assert.match(await text(page, '.letter pre'), /<b>AAPL<\/b>/);
    assert.equal(await page.locator('.letter b:not(.letter-function)').count(), 0, 'other people’s markup became elements');
    await says(page, `${part('dead')} .part-figure`, /^1\s/);
    assert.equal(await page.locator(part('dead')).getAttribute('data-alarm'), 'yes');
  });

  await t.step('a function that is gone is said to be', async () => {
    await service.control('seal-down');
    await page.waitForFunction(() => document.querySelector('.part[data-id="seal"]').dataset.state !== 'up');
    await page.waitForFunction(() => [...document.querySelectorAll('.health-part')].some((e) => /seal/.test(e.textContent) && e.dataset.state !== 'up' && e.querySelector('.health-reason')?.textContent.length > 5));
    await t.shot(page, 'pipeline-seal-down');
    await service.control('live');
  });

  const scripted = new Scripted();
  const other = await t.page({ hash: '#/pipeline', scripted: scripted });
  await state(other, 'live');

  await t.step('what is not known is shown as not known, never as nought', async () => {
    await says(other, '.pipeline-note', /Waiting for the first figures/);
    for (const id of ['ticks', 'process', 'persist', 'seal', 'cassandra', 'dead']) {
      assert.match(await text(other, `${part(id)} .part-figure`), /^–\s*not known$/, id);
      assert.equal(await text(other, `${part(id)} .part-state`), 'not known', id);
    }
    assert.match(await text(other, '.sealing-sentence'), /not known/);
    for (const value of await other.locator('.sealing dd').allInnerTexts()) assert.equal(value, '–');
  });

  await t.step('figures are those that the service told, to the digit', async () => {
    scripted.pipeline = pipeline();
    scripted.pipeline.functions[0].dead_letters = 2;
    scripted.pipeline.functions[1].stopped = [4];
    scripted.pipeline.seal.differences = 3;
    await says(other, `${part('ticks')} .part-figure`, /^1,20\d\s*ticks\/s/);
    await says(other, `${part('process')} .part-facts`, /lag 66 · p99 18 ms a call/);
    const row = await other.locator('.functions tbody tr').first().locator('td').allInnerTexts();
    assert.deepEqual([row[0], row[2], row[3], row[4], row[5], row[6], row[7], row[8], row[9]], ['66', '1,200', '9.8', '4.1 ms', '18 ms', '96', '410', '3', '2']);
    assert.match(await text(other, '.functions tbody tr:nth-child(2) .functions-problem'), /Stopped at partition 4/);
    assert.match(await text(other, '.sealing-sentence'), /3 of 56,220 live windows were corrected/);
    const source = other.locator('.latency-row', { hasText: 'trade → received' });
    assert.deepEqual(await source.locator('.latency-figure').allInnerTexts(), ['4.2 ms', '9.0 ms', '14 ms']);
  });

  await t.step('figures that grew old are taken away, and their age is told', async () => {
    scripted.pipeline = null;
    await other.evaluate(() => window.skip(4_000));
    await says(other, '.pipeline-note', /The last figures came \d+ s ago/);
    assert.match(await text(other, `${part('process')} .part-figure`), /not known/);
    await t.release(other);
  });

  await t.step('a service whose clock is wrong by an hour does not make ticks late', async () => {
    const skewed = new Scripted();
    const hour = 3_600_000;
    const shift = (m) => ({ ...m, now: m.now && m.now + hour, quotes: m.quotes?.map((q) => ({ ...q, received: q.received + hour, time: q.time + hour })) });
    const say = skewed.say.bind(skewed);
    skewed.api['/api/status'] = () => ({ now: Date.now() + hour, full: false });
    const [pulse, snapshot] = [skewed.pulse.bind(skewed), skewed.snapshot.bind(skewed)];
    skewed.pulse = (more) => ({ ...shift(pulse(more)), last_update: Date.now() + hour });
    skewed.snapshot = () => shift(snapshot());
    const third = await t.page({ hash: '#/pipeline', scripted: skewed });
    await state(third, 'live');
    const timer = setInterval(() => say(shift(skewed.trade(3))), 200);
    await says(third, '.hero dd', /^\d+(\.\d)? ms$/).finally(() => clearInterval(timer));
    await t.release(third);
  });

  await t.step('who does not look at the pipeline is not sent its figures', async () => {
    const asked = new Scripted();
    const quiet = await t.page({ hash: '#/market', scripted: asked });
    await state(quiet, 'live');
    assert.ok(!asked.asked.some((x) => /pipeline=1|"pipeline":true/.test(x)));
    await quiet.evaluate(() => { location.hash = '#/pipeline'; });
    await quiet.locator('.flow').waitFor();
    await quiet.evaluate(() => { location.hash = '#/market'; });
    await quiet.locator('.tile').first().waitFor();
    const said = () => asked.asked.filter((x) => x.startsWith('{')).map((x) => JSON.parse(x).pipeline);
    await until('the page says what it wants', async () => ({ done: said().length >= 2, said: said() }));
    assert.deepEqual(said(), [true, false]);
    await t.release(quiet);
  });
}
