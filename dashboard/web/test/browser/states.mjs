// Each state of the page, as it is designed to be seen.
import assert from 'node:assert/strict';
import { accessible, says, state, text } from './harness.mjs';
import { Scripted } from './scripted.mjs';

export default async function states(t) {
  const service = await t.service();
  const page = await t.page({ url: service.url, expectBroken: true });
  await state(page, 'live');

  const shows = (name, order, want, more = async () => {}) => t.step(name, async () => {
    await service.control(order);
    await state(page, want);
    await more();
    await accessible(page, name, { part: ['.top', '#notice'] });
    await t.shot(page, `state-${order}`);
    await service.control('live');
    await state(page, 'live');
  });

  await shows('delayed data say by how much', 'delayed', 'delayed', () => says(page, '#state', /Delayed 15 min/));
  await shows('a topic that is being read says how much is left', 'loading', 'loading', () => says(page, '#state', /812,345/));
  await shows('a feed that is interrupted says so, and that prices are old', 'interrupted', 'interrupted', () => says(page, '#notice', /Kafka does not answer.*as of \d/));

  await t.step('closed markets say so, with the next opening where it is known', async () => {
    const closed = new Scripted();
    const opens = Date.UTC(2030, 0, 7, 14, 30);
    closed.api['/api/markets'] = () => ({ now: Date.now(), markets: [{ exchange: 'NMS', name: 'Nasdaq', time_zone: 'America/New_York', session: 'closed', known_by: 'hours', next_open: opens, next_close: opens + 1 }] });
    const other = await t.page({ scripted: closed });
    await state(other, 'closed');
    await says(other, '#state', /closed.*opens.*09:30/i);
    await accessible(other, 'a closed market', { part: ['.top'] });
    await t.shot(other, 'state-closed');
    await t.release(other);
  });

  await t.step('a feed without trades is stale, and its age is told', async () => {
    const quiet = new Scripted();
    const pulse = quiet.pulse.bind(quiet);
    quiet.pulse = () => pulse({ last_update: Date.now() - 95_000 });
    const other = await t.page({ scripted: quiet });
    await state(other, 'stale');
    await says(other, '#state', /No update for 2 min/);
    await accessible(other, 'stale prices', { part: ['.top', '#view-watch'] });
    await t.shot(other, 'state-stale');
    await t.release(other);
  });

  await t.step('real and simulated symbols side by side are told apart', async () => {
    await service.control('mixed');
    await page.waitForFunction(() => document.body.dataset.simulated === 'some');
    assert.match(await text(page, '#simulated'), /of 20 symbols/);
    const marks = () => page.locator('#rows .tag.sim:visible').count();
    assert.ok((await marks()) > 0 && (await marks()) < 20, `${await marks()} marks`);
    await service.control('real');
    await page.waitForFunction(() => document.querySelector('#simulated').hidden);
    assert.equal(await marks(), 0);
    await service.control('live');
  });

  await t.step('a backend that fails leaves the live windows, and is told of', async () => {
    await service.control('backend-error');
    await page.evaluate(() => { location.hash = '#/watch/KO?interval=1h'; });
    await says(page, '#chart-note', /[Hh]istory/);
    assert.ok(await page.locator('#legend').isVisible(), 'the live windows are drawn');
    await t.shot(page, 'state-backend-error');
    await service.control('live');
    await page.evaluate(() => { location.hash = '#/watch/AAPL?interval=1m'; });
  });

  await t.step('an unknown symbol is said to be unknown', async () => {
    await page.evaluate(() => { location.hash = '#/watch/NOPE'; });
    await says(page, '#chart-note', /NOPE/);
    await accessible(page, 'an unknown symbol');
    await t.shot(page, 'state-unknown');
    await page.evaluate(() => { location.hash = '#/watch/AAPL'; });
  });

  await t.step('a dashboard that wants a token asks for it, and takes the right one only', async () => {
    await service.control('token');
    await page.locator('dialog.token[open]').waitFor();
    await accessible(page, 'the dialog for the token');
    await page.locator('dialog.token input').fill('wrong');
    await page.keyboard.press('Enter');
    await says(page, 'dialog.token .problem', /not the token/);
    await t.shot(page, 'state-token');
    await page.locator('dialog.token input').fill('open-sesame-0815');
    await page.keyboard.press('Enter');
    await state(page, 'live');
    await service.control('live');
    await state(page, 'live');
  });

  await t.step('a dashboard that is full says so to those it can’t admit', async () => {
    await service.control('full');
    await state(page, 'live');
    const other = await t.page({ url: service.url, expectBroken: true });
    await says(other, '#notice', /as many viewers as it can serve/);
    await t.shot(other, 'state-full');
    await t.release(other);
    await service.control('live');
  });
}
