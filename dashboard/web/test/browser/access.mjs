// For everyone: keyboard, screen reader, themes, motion and every width.
import assert from 'node:assert/strict';
import { accessible, fits, state, text, theme, until } from './harness.mjs';

const views = ['watch', 'market', 'pipeline'];
const ready = { watch: '#rows tr', market: '.tile', pipeline: '.functions tbody tr' };

export default async function access(t) {
  const service = await t.service();
  await service.control('dead-letter');
  const page = await t.page({ url: service.url });
  const go = async (view) => {
    await page.evaluate((v) => { location.hash = `#/${v}`; }, view);
    await page.locator(`#view-${view}:not([hidden]) ${ready[view]}`).first().waitFor();
  };
  await state(page, 'live');

  for (const view of views) {
    await t.step(`the ${view} view can be used without sight of it, in every theme and palette`, async () => {
      await go(view);
      await service.control('stale'); // what does not move is drawn once
      for (const [name, palette] of [['dark', 'classic'], ['light', 'classic'], ['contrast', 'classic'], ['dark', 'safe'], ['light', 'safe'], ['contrast', 'safe']]) {
        await theme(page, name, palette);
        // Themes differ in nothing but colours, and the frame is in all views the same.
        await accessible(page, `${view}, ${name}, ${palette}`, name === 'dark' && palette === 'classic' ? {} : { rule: 'color-contrast', part: view === 'watch' ? null : [`#view-${view}`] });
        if (name === 'dark' ? palette === 'safe' : palette === 'classic') await t.shot(page, `${view}-${name}-${palette}`);
      }
      await theme(page, 'dark');
      await service.control('live');
    });
  }

  await t.step('the page is reached and left by keyboard alone', async () => {
    await go('market');
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.className), 'skip');
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
    assert.match(page.url(), /#\/market/, 'skipping leads nowhere else');
    for (const [key, view] of [['p', 'pipeline'], ['w', 'watch'], ['m', 'market']]) {
      // The second key has to come soon, which a slow machine may miss.
      await until(`g ${key} leads to ${view}`, async () => {
        await page.keyboard.press('g');
        await page.keyboard.press(key);
        return { done: page.url().includes(`#/${view}`), url: page.url() };
      }, 300);
      await page.locator(`#view-${view}:not([hidden])`).waitFor();
    }
    // Every stop of the Tab key can be seen, and the last leads out again.
    const stops = [];
    await page.evaluate(() => document.activeElement.blur());
    for (let i = 0; i < 60; i++) {
      await page.keyboard.press('Tab');
      const stop = await page.evaluate(() => {
        const e = document.activeElement;
        if (e === document.body) return null;
        const r = e.getBoundingClientRect();
        return { name: e.ariaLabel || e.innerText || e.id, seen: r.width > 0 && r.height > 0, ring: getComputedStyle(e).outlineStyle !== 'none' || e.matches('input[type=radio]') || e.matches('.skip') };
      });
      if (stop === null) break;
      stops.push(stop);
    }
    assert.ok(stops.length > 8 && stops.length < 40, `${stops.length} stops: roving lists are one each`);
    for (const s of stops) assert.ok(s.seen && s.ring, `the focus on ${s.name.slice(0, 40)} can't be seen`);
  });

  await t.step('? opens the help, which tells the keys, and Escape closes it', async () => {
    await page.keyboard.press('?');
    await page.locator('#help[open]').waitFor();
    assert.match(await text(page, '#help'), /Go to Market/);
    await accessible(page, 'the help');
    await t.shot(page, 'help');
    await page.keyboard.press('Escape');
    await page.locator('#help').waitFor({ state: 'hidden' });
    await page.locator('#help-button').click();
    await page.locator('#help[open]').waitFor();
    await page.keyboard.press('?');
    await page.locator('#help').waitFor({ state: 'hidden' });
  });

  await t.step('a table stands behind every picture', async () => {
    for (const [view, least] of [['watch', 1], ['market', 2], ['pipeline', 5]]) {
      await go(view);
      const buttons = page.locator(`#view-${view} .table-button`);
      const n = await buttons.count();
      assert.ok(n >= least, `${n} tables in ${view}`);
      for (let i = 0; i < n; i++) {
        await buttons.nth(i).click();
        await page.locator('#table[open]').waitFor();
        const [title, rows, columns] = await page.evaluate(() => [document.querySelector('#table-title').innerText, document.querySelectorAll('#table tbody tr').length, document.querySelectorAll('#table thead th').length]);
        assert.ok(title.length > 3 && rows > 0 && columns > 1, `${view}: ${title} has ${rows} rows and ${columns} columns`);
        if (i === 0) await accessible(page, `the table of ${title}`);
        await page.keyboard.press('Escape');
        await page.locator('#table').waitFor({ state: 'hidden' });
      }
    }
  });

  await t.step('a screen reader’s tree has names for all that is there, and its live region is quiet', async () => {
    await go('watch');
    await page.evaluate(() => {
      window.heard = [];
      window.prices = 0;
      new MutationObserver(() => window.prices++).observe(document.querySelector('#rows'), { characterData: true, childList: true, subtree: true });
      for (const region of document.querySelectorAll('[aria-live]:not([aria-live="off"]), [role="status"], [role="alert"]')) new MutationObserver(() => window.heard.push(`${region.id}: ${region.textContent}`)).observe(region, { childList: true, characterData: true, subtree: true });
    });
    const tree = await page.locator('body').ariaSnapshot();
    for (const part of ['navigation "Views"', 'link "Watch"', 'table "Watch list"', 'main', /img|figure/]) assert.match(tree, part instanceof RegExp ? part : new RegExp(part.replace(/["]/g, '"')), `the tree has ${part}`);
    assert.doesNotMatch(tree, /- (button|link|textbox|radio)\s*$/m, 'something without a name');
    await page.waitForFunction(() => window.prices >= 20);
    const heard = await page.evaluate(() => window.heard);
    assert.ok(heard.length <= 2, `while twenty prices changed it said ${heard.join(' | ')}`);
  });

  await t.step('where less motion is asked for nothing moves by itself', async () => {
    const calm = await t.page({ url: service.url, hash: '#/pipeline', reducedMotion: 'reduce', settings: { motion: 'auto' } });
    await state(calm, 'live');
    await calm.locator('.functions tbody tr').first().waitFor();
    await calm.waitForFunction(() => document.querySelector('.flow-stream[data-moving]') !== null);
    assert.deepEqual(await calm.evaluate(() => document.getAnimations().filter((a) => a.playState === 'running').map((a) => a.animationName ?? a.transitionProperty)), []);
    await t.release(calm);
  });

  await t.step('every view fits from a phone’s width to a wide screen', async () => {
    for (const view of views) {
      await go(view);
      for (const width of [320, 360, 720, 721, 900, 1280, 2560]) {
        await page.setViewportSize({ width, height: width < 721 ? 780 : 900 });
        await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
        await fits(page, `${view} at ${width} px`);
        if (width === 360 || width === 2560) await t.shot(page, `${view}-${width}`);
      }
    }
    await page.setViewportSize({ width: 1280, height: 800 });
  });

  await t.step('on a phone everything can be hit and read', async () => {
    const phone = await t.page({ url: service.url, hash: '#/watch', viewport: { width: 360, height: 780 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true });
    await state(phone, 'live');
    for (const view of views) {
      await phone.locator('#nav a', { hasText: new RegExp(view, 'i') }).tap();
      await phone.locator(`#view-${view}:not([hidden]) ${ready[view]}`).first().waitFor();
      await fits(phone, `${view} on a phone`);
      // The elements are those of a wide screen, where all rules are tried on each view.
      await accessible(phone, `${view} on a phone`, view === 'watch' ? {} : { rule: 'color-contrast' });
      assert.ok(await phone.locator('#simulated').isVisible(), 'the mark of simulated data');
      await t.shot(phone, `${view}-phone`);
    }
    await t.release(phone);
  });
}
