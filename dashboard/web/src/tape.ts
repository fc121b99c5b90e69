import { sign } from './decimal';
import { element } from './dom';
import type { Quote } from './market';
import { calm } from './settings';
import { arrow, changeText, priceText } from './text';

const pause = 360;
const longest = 24;

/** The ticker tape: trades as they come, the newest printed at its right end. For the eye only. */
export class Tape {
  private readonly waiting = new Map<string, Quote>();
  private timer = 0;

  constructor(private readonly strip: HTMLElement) {}

  /** Queues a trade. A symbol that trades faster than the tape prints appears with its newest. */
  print(q: Quote): void {
    this.waiting.delete(q.symbol);
    this.waiting.set(q.symbol, q);
    if (this.waiting.size > longest) this.waiting.delete(this.waiting.keys().next().value!);
    if (!this.timer) this.next();
  }

  /** What ran through before the page came: the latest trades, oldest first. */
  fill(quotes: Iterable<Quote>): void {
    if (this.strip.childElementCount > 0) return;
    const latest = [...quotes].sort((a, b) => a.time - b.time).slice(-longest);
    this.strip.append(...latest.map(item));
  }

  private next(): void {
    this.timer = 0;
    const first = this.waiting.entries().next().value;
    if (!first) return;
    this.timer = window.setTimeout(() => this.next(), pause);
    this.waiting.delete(first[0]);
    if (document.visibilityState === 'hidden') return;
    const printed = item(first[1]);
    this.strip.append(printed);
    while (this.strip.childElementCount > longest) this.strip.firstElementChild!.remove();
    if (calm()) return;
    // In steps, as a printer's feed goes.
    this.strip.animate([{ transform: `translateX(${printed.offsetWidth}px)` }, { transform: 'none' }], { duration: pause - 80, easing: 'steps(6, end)' });
  }
}

function item(q: Quote): HTMLElement {
  const e = element('span', 'item');
  const direction = sign(q.change);
  e.dataset['sign'] = String(direction);
  e.append(element('b', '', q.symbol), ' ' + priceText(q) + ' ');
  if (q.change !== undefined) e.append(element('i', '', arrow(direction) + changeText(q).replace(/^[+−]/, '')));
  return e;
}
