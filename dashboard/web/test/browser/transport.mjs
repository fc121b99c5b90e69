// What becomes of the page when the service, the network or the tab fails it.
import assert from 'node:assert/strict';
import { accessible, agrees, changes, says, settled, state, until } from './harness.mjs';
import { Scripted } from './scripted.mjs';

const last = '#rows tr[data-symbol="AAPL"] .c-last';

export default async function transport(t) {
  const service = await t.service();
  const page = await t.page({ url: service.url, expectBroken: true });
  await state(page, 'live');

  await t.step('a service that is killed is reconnected to, and its successor goes on', async () => {
    await service.kill();
    await state(page, 'reconnecting');
    await says(page, '#notice', /does not answer.*as of \d/);
    await accessible(page, 'the page while it reconnects');
    await t.shot(page, 'state-reconnecting');
    await service.run();
    await state(page, 'live');
    assert.ok(await page.locator('#notice').isHidden());
    await changes(page, last);
    assert.equal(await page.locator('#rows tr').count(), 20);
  });

  await t.step('a network that is cut and restored is noticed', async () => {
    await page.context().setOffline(true);
    await state(page, 'offline');
    await t.shot(page, 'state-offline');
    await page.context().setOffline(false);
    await state(page, 'live');
    await changes(page, last);
  });

  await t.step('a tab that was suspended goes on with what is true', async () => {
    const dev = await page.context().newCDPSession(page);
    await dev.send('Page.setWebLifecycleState', { state: 'frozen' });
    const { seq } = await service.get('/api/status');
    await until('the market goes on without the page', async () => {
      const now = (await service.get('/api/status')).seq;
      return { done: now > seq + 20, now, seq };
    });
    await service.control('stale');
    await settled(service);
    await dev.send('Page.setWebLifecycleState', { state: 'active' });
    await agrees(page, service);
    await service.control('live');
    await changes(page, last);
  });

  await t.step('where WebSockets are blocked the page lives on server-sent events', async () => {
    const other = await t.page({ url: service.url, hash: '#/pipeline', before: (p) => p.addInitScript(() => {
      window.WebSocket = class {
        constructor() { setTimeout(() => this.onclose?.(), 5); }
        close() {}
      };
    }) });
    await state(other, 'live');
    assert.match(await other.locator('#state').getAttribute('title'), /server-sent events/);
    await says(other, '.part[data-id="process"] .part-figure', /ticks\/s/);
    await other.evaluate(() => { location.hash = '#/watch/AAPL'; });
    await changes(other, last);
    await t.release(other);
  });

  await t.step('a gap is mended by a snapshot, and a page that stands aside is not misled', async () => {
    const scripted = new Scripted();
    const other = await t.page({ scripted: scripted });
    await state(other, 'live');
    const apple = scripted.list[0];
    scripted.trade(5); // is lost
    apple.price = 999.25;
    scripted.say({ type: 'delta', epoch: scripted.epoch, from: scripted.seq + 3, seq: scripted.seq + 4, quotes: [scripted.quote({ ...apple, price: 1 })] });
    await says(other, last, /999\.25/);
    assert.ok(scripted.asked.some((m) => /"snapshot"/.test(m)), 'the page asked for a snapshot');
    await t.release(other);
  });

  await t.step('hostile messages break nothing and write nothing', async () => {
    const scripted = new Scripted();
    const other = await t.page({ scripted: scripted });
    await state(other, 'live');
    await other.evaluate(() => { window.hurt = 0; });
    const evil = { symbol: '<img src=x onerror="hurt=1">', name: '<script>hurt=1</script>', price: 12.5, previous: 12, volume: 100 };
    scripted.list.push(evil);
    const from = scripted.seq++;
    for (const message of [
      'not JSON', '[]', 'null', '"text"', '{}', '{"type":"delta"}', '{"type":"snapshot"}', '{"type":"pulse"}', '{"type":"pipeline"}', '{"type":"__proto__"}', '{"type":"unheard-of","quotes":[]}',
      JSON.stringify({ type: 'pulse', now: 'soon', symbols: null, ticks_per_second: 'many', latency: 7 }), `{"type":"x","filler":"${'x'.repeat(2_000_000)}"}`,
      JSON.stringify({ type: 'delta', epoch: scripted.epoch, from, seq: scripted.seq, quotes: [scripted.quote(evil, true)] }),
    ]) scripted.say(message);
    scripted.list[0].price = 321.5;
    scripted.say(scripted.snapshot());
    await says(other, last, /321\.50/);
    assert.equal(await other.evaluate(() => window.hurt), 0);
    assert.equal(await other.locator('img, #rows script').count(), 0);
    await state(other, 'live');
    for (const view of ['market', 'pipeline']) {
      await other.evaluate((v) => { location.hash = `#/${v}`; }, view);
      await other.locator(`#view-${view}:not([hidden]) .card`).first().waitFor();
    }
    assert.equal(await other.evaluate(() => window.hurt), 0);
    await t.release(other);
  });
}
