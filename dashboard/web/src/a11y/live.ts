import type { App } from '../app';
import { element } from '../dom';
import { sign } from '../decimal';
import type { Quote } from '../market';
import { nameOf } from '../names';
import { percentText, priceText } from '../text';

/** A chosen symbol's price is read out at most so often, ms: each tick would drown all else. */
export const readEvery = 20_000;

/** What is read out of a quote: "Apple 223.45, down 0.13 percent". */
export function spoken(q: Quote): string {
  const change = q.percent === undefined ? '' : sign(q.percent) === 0 ? ', unchanged' : `, ${sign(q.percent) > 0 ? 'up' : 'down'} ${percentText(q).replace(/[+−]/, '').replace(' %', ' percent')}`;
  return `${q.info.name || nameOf(q.symbol) || q.symbol} ${priceText(q)}${change}${q.info.source === 'simulated' ? ', simulated' : ''}`;
}

/** A live region that says now and then what the eye sees all the time, and at once when the state of the feed changes. */
export function announce(app: App): void {
  const region = element('div', 'hidden');
  region.id = 'live';
  region.setAttribute('role', 'status');
  region.setAttribute('aria-live', 'polite');
  region.setAttribute('aria-atomic', 'true');
  document.body.append(region);
  let read = Date.now();
  let price = '';
  let symbol = '';
  let view = '';
  app.router.route.follow((r) => {
    // The focus moves with a change of view by itself; a chosen symbol is read at once.
    if (r.symbol !== symbol || r.view !== view) read = 0;
    symbol = r.symbol;
    view = r.view;
  });
  app.onSecond(() => {
    const now = Date.now();
    if (app.router.get().view !== 'watch' || now - read < readEvery) return;
    const q = app.market.quotes.get(app.router.get().symbol);
    if (!q || app.link.get().kind !== 'open') return;
    read = now;
    if (q.price === price) return;
    price = q.price;
    region.textContent = spoken(q);
  });
}
