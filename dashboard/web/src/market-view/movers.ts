import { roving } from '../a11y/roving';
import { element, setText } from '../dom';

/** One line of a list of movers. */
export interface Mover {
  symbol: string;
  name: string;
  price: string;
  /** What the list is ordered by, as text: a percentage or a turnover. */
  figure: string;
  sign: -1 | 0 | 1;
  /** Where the figure is a change. */
  arrow: string;
  /** Its length as a bar, 0 to 1. */
  share: number;
  simulated: boolean;
  href: string;
}

/** A list of movers whose lines are used again, so that a focused one stays focused. */
export class MoverList {
  readonly box = element('section', 'movers card');
  private readonly list = element('ol');
  private readonly none: HTMLElement;
  private readonly lines: { line: HTMLLIElement; link: HTMLAnchorElement; parts: HTMLElement[] }[] = [];
  private readonly settle: () => void;

  constructor(title: string, id: string, none: string) {
    const head = element('header', 'card-head');
    const h = element('h3', '', title);
    h.id = id;
    head.append(h);
    this.none = element('p', 'card-empty', none);
    this.box.setAttribute('aria-labelledby', id);
    this.box.append(head, this.list, this.none);
    this.settle = roving(this.list, () => this.lines.filter((l) => !l.line.hidden).map((l) => l.link));
  }

  get head(): HTMLElement {
    return this.box.firstElementChild as HTMLElement;
  }

  show(movers: readonly Mover[]): void {
    const before = this.lines.filter((l) => !l.line.hidden).length;
    this.none.hidden = movers.length > 0;
    while (this.lines.length < movers.length) this.add();
    this.lines.forEach(({ line, link, parts }, i) => {
      const m = movers[i];
      line.hidden = !m;
      if (!m) return;
      [m.symbol, m.name, m.price, m.arrow, m.figure].forEach((text, j) => setText(parts[j]!, text));
      line.dataset['sign'] = String(m.sign);
      line.dataset['source'] = m.simulated ? 'simulated' : '';
      line.style.setProperty('--share', m.share.toFixed(3));
      if (link.getAttribute('href') !== m.href) link.setAttribute('href', m.href);
    });
    if (before !== movers.length) this.settle();
  }

  private add(): void {
    const line = element('li');
    const link = element('a', 'mover');
    const symbol = element('b');
    const name = element('span', 'mover-name');
    const sim = element('span', 'tag sim', 'SIM');
    const who = element('span', 'mover-who');
    who.append(symbol, sim, name);
    const price = element('span', 'mover-price');
    const figure = element('span', 'mover-figure');
    const arrow = element('span', 'mover-arrow');
    arrow.setAttribute('aria-hidden', 'true');
    const value = element('span');
    figure.append(arrow, value);
    link.append(who, ' ', price, ' ', figure);
    line.append(link);
    this.list.append(line);
    this.lines.push({ line, link, parts: [symbol, name, price, arrow, value] });
  }
}
