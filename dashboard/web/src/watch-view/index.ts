import './style.css';

import type { App } from '../app';
import { element, setText, svgElement } from '../dom';
import type { Mounted } from '../view';
import { Detail } from './detail';
import { WatchList } from './list';

const narrowest = 300;

/** The watch list, and the chart of the symbol that is chosen in it. */
export function mount(host: HTMLElement, app: App): Mounted {
  const box = element('div', 'watch');
  const listTools = element('div');
  const list = new WatchList(app, listTools);
  const detail = new Detail(app, (symbol) => list.remove(symbol));
  const divider = element('div', 'divider');
  const waiting = new Waiting(app);
  box.append(list.box, divider, detail.box, waiting.box);
  host.append(box);
  app.offerTable(listTools, list.source);
  app.offerTable(detail.toolbar, detail.source);
  listTools.append(widen(app, 'list', 'the list'));
  detail.toolbar.append(widen(app, 'chart', 'the chart'));
  divide(app, box, divider);

  let shown = false;
  const follow = () => {
    if (!shown) return;
    const route = app.router.get();
    // On a phone one of the two is shown: the chart of a symbol that is named.
    box.dataset['symbol'] = route.symbol ? 'named' : '';
    box.dataset['layout'] = route.params['layout'] ?? '';
    const symbol = route.symbol || list.first();
    list.select(symbol);
    detail.open(symbol);
    waiting.show();
  };
  app.router.route.follow(follow);
  app.watch.state.follow(follow);
  app.onSnapshot(follow);
  app.onFrame((changed) => {
    if (!shown) return;
    list.frame(changed);
    detail.frame(changed);
    waiting.show();
    if (!detail.box.dataset['symbol']) follow();
  });
  app.onSecond((now) => {
    if (!shown) return;
    list.second(now);
    detail.second();
  });
  app.status.follow(() => waiting.show());
  setInterval(() => document.visibilityState === 'visible' && shown && detail.minute(), 60_000);
  addEventListener('keydown', (e) => {
    if (!shown || e.altKey || e.ctrlKey || e.metaKey || document.querySelector('dialog[open], :popover-open')) return;
    const target = e.target as HTMLElement;
    if (target instanceof HTMLInputElement && !['radio', 'checkbox'].includes(target.type)) return;
    if (e.key === '/') list.focusFilter();
    else if (e.key === '+' && !target.closest('.chart-box')) list.openAdd();
    else if (/^[1-5]$/.test(e.key)) document.querySelectorAll<HTMLInputElement>('#intervals input')[Number(e.key) - 1]?.click();
    else if (!(target.closest('.chart-box') && detail.key(e))) return;
    e.preventDefault();
  });
  return {
    show: () => {
      shown = true;
      // An address that says nothing of the chart has it as it was last chosen.
      const { interval, indicators } = app.settings.get();
      app.router.go({ params: { interval: app.router.param('interval') || interval, with: app.router.param('with') || indicators } }, true);
      list.all();
      follow();
      detail.reload();
    },
    hide: () => {
      shown = false;
      document.title = 'Ticktape';
    },
  };
}

/** A button that gives the whole width to one side, and back. */
function widen(app: App, layout: 'list' | 'chart', name: string): HTMLButtonElement {
  const button = element('button', 'quiet icon-button widen');
  button.type = 'button';
  const svg = svgElement('svg', { viewBox: '0 0 20 20', 'aria-hidden': 'true' });
  svg.append(svgElement('path', { d: 'M12 3.5h4.5V8M8 16.5H3.5V12M16.5 3.5L11.5 8.5M3.5 16.5L8.5 11.5' }));
  button.append(svg);
  app.router.route.follow((r) => {
    const alone = r.params['layout'] === layout;
    button.setAttribute('aria-pressed', String(alone));
    button.title = alone ? 'List and chart' : `Nothing but ${name}`;
    button.setAttribute('aria-label', button.title);
  });
  button.addEventListener('click', () => app.router.go({ params: { layout: app.router.param('layout') === layout ? '' : layout } }, true));
  return button;
}

/** Lets the line between list and chart be moved, by pointer and by keys. */
function divide(app: App, box: HTMLElement, divider: HTMLElement): void {
  divider.tabIndex = 0;
  divider.setAttribute('role', 'separator');
  divider.setAttribute('aria-orientation', 'vertical');
  divider.setAttribute('aria-label', 'Width of the watch list');
  const widest = () => Math.max(narrowest, box.clientWidth - 360);
  const now = () => divider.getBoundingClientRect().left - box.getBoundingClientRect().left;
  const set = (width: number) => app.settings.set({ listWidth: Math.round(Math.min(widest(), Math.max(narrowest, width))) });
  app.settings.all.follow((s) => {
    if (s.listWidth > 0) box.style.setProperty('--list-width', `${s.listWidth}px`);
    else box.style.removeProperty('--list-width');
    divider.setAttribute('aria-valuemin', String(narrowest));
    divider.setAttribute('aria-valuemax', String(Math.round(widest())));
    divider.setAttribute('aria-valuenow', String(s.listWidth || Math.round(now())));
  });
  divider.addEventListener('pointerdown', (e) => {
    divider.setPointerCapture(e.pointerId);
    e.preventDefault();
  });
  divider.addEventListener('pointermove', (e) => divider.hasPointerCapture(e.pointerId) && set(e.clientX - box.getBoundingClientRect().left));
  divider.addEventListener('dblclick', () => app.settings.set({ listWidth: 0 }));
  divider.addEventListener('keydown', (e) => {
    const by = { ArrowLeft: -16, ArrowRight: 16 }[e.key];
    if (by === undefined && e.key !== 'Home') return;
    e.preventDefault();
    if (by === undefined) app.settings.set({ listWidth: 0 });
    else set(now() + by);
  });
}

/** What is shown before the first tick: how far the data have come. */
class Waiting {
  readonly box = element('section', 'waiting');
  private readonly steps: { item: HTMLElement; text: HTMLElement }[] = [];

  constructor(private readonly app: App) {
    this.box.id = 'waiting';
    this.box.setAttribute('aria-labelledby', 'waiting-title');
    const title = element('h2', '', 'Waiting for the first tick');
    title.id = 'waiting-title';
    const list = element('ol');
    for (const [name, text] of [
      ['Dashboard', 'This page is connected to the dashboard.'], ['Kafka', 'The topic of windows is being read.'], ['First tick', 'Nothing has been published yet. Does the pipeline run?'],
    ] as const) {
      const item = element('li');
      const says = element('span', '', text);
      item.append(element('b', '', name), says);
      list.append(item);
      this.steps.push({ item, text: says });
    }
    this.steps.at(-1)!.text.append(' ', element('code', '', 'make status'), ' tells.');
    this.box.append(title, element('p', '', 'Prices appear here as soon as the pipeline publishes them.'), list);
  }

  show(): void {
    const empty = this.app.market.quotes.size === 0;
    this.box.hidden = !empty;
    document.body.classList.toggle('empty', empty);
    if (!empty) return;
    const open = this.app.link.get().kind === 'open';
    const p = this.app.pulse.get();
    const done = [open, open && p?.connected === true, false];
    this.steps.forEach(({ item }, i) => {
      item.dataset['done'] = done[i] ? 'yes' : 'no';
    });
    setText(this.steps[1]!.text, open && p?.problem ? p.problem : 'The topic of windows is being read.');
  }
}
