import type { App } from '../app';
import { byId, element } from '../dom';
import { views } from '../view';

interface Shortcut {
  keys: string[];
  does: string;
}

// What each view does with keys stands with the views; it is told here.
const groups: [string, Shortcut[]][] = [
  ['Everywhere', [
    { keys: ['?'], does: 'This help' },
    ...views.map((v) => ({ keys: ['g', v.id[0]!], does: `Go to ${v.title}` })),
    { keys: ['/'], does: 'Filter the watch list' },
    { keys: ['Esc'], does: 'Close, or clear the filter' },
  ]],
  ['Watch list', [
    { keys: ['↑', '↓'], does: 'Next symbol up or down' },
    { keys: ['Home', 'End'], does: 'First or last symbol' },
    { keys: ['+'], does: 'Add a symbol' },
    { keys: ['Delete'], does: 'Remove the symbol' },
  ]],
  ['Chart', [
    { keys: ['1', '…', '5'], does: 'Candles of 1m, 5m, 15m, 1h, 1d' },
    { keys: ['←', '→'], does: 'Scroll; with Shift, farther' },
    { keys: ['+', '−'], does: 'Closer, wider' },
    { keys: ['End'], does: 'Go to live' },
  ]],
  ['Heat map', [
    { keys: ['←', '→', '↑', '↓'], does: 'The neighbour on that side' },
    { keys: ['Home', 'End'], does: 'Largest or smallest' },
    { keys: ['Enter'], does: 'Open the chart' },
  ]],
];

/** Time for the second key of two, ms. */
const pause = 1_500;

/** The help dialog, and the keys that lead from view to view. */
export function help(app: App): void {
  const dialog = element('dialog', 'help');
  dialog.id = 'help';
  const title = element('h2', '', 'Keyboard');
  title.id = 'help-title';
  dialog.setAttribute('aria-labelledby', title.id);
  const close = element('button', 'icon-button help-close', '×');
  close.type = 'button';
  close.ariaLabel = 'Close';
  close.addEventListener('click', () => dialog.close());
  const body = element('div', 'help-groups');
  for (const [name, shortcuts] of groups) {
    const group = element('section');
    const list = element('dl');
    for (const s of shortcuts) {
      const keys = element('dt');
      s.keys.forEach((k) => keys.append(k === '…' ? '…' : element('kbd', '', k), ' '));
      list.append(keys, element('dd', '', s.does));
    }
    group.append(element('h3', '', name), list);
    body.append(group);
  }
  dialog.append(close, title, body);
  // A press beside the dialog closes it.
  dialog.addEventListener('click', (e) => {
    if (e.target === dialog) dialog.close();
  });
  document.body.append(dialog);

  const button = element('button', 'icon-button', '?');
  button.id = 'help-button';
  button.type = 'button';
  button.ariaLabel = 'Keyboard help';
  button.title = 'Keyboard help (?)';
  button.addEventListener('click', () => dialog.showModal());
  byId('settings-button').before(button);

  let went = 0; // when g was pressed
  addEventListener('keydown', (e) => {
    if (e.altKey || e.ctrlKey || e.metaKey || typing(e.target)) return;
    if (e.key === '?') {
      e.preventDefault();
      if (dialog.open) dialog.close();
      else if (!document.querySelector('dialog[open]')) dialog.showModal();
      return;
    }
    if (document.querySelector('dialog[open]')) return;
    if (e.key === 'g') {
      went = Date.now();
      return;
    }
    const view = Date.now() - went < pause ? views.find((v) => v.id[0] === e.key) : undefined;
    went = 0;
    if (!view) return;
    e.preventDefault();
    e.stopImmediatePropagation();
    location.hash = app.router.home(view.id);
    byId('main').focus();
  }, { capture: true });
}

/** Whether a key is text for a field. */
export function typing(at: EventTarget | null): boolean {
  return at instanceof HTMLElement && (at.isContentEditable || at instanceof HTMLTextAreaElement || at instanceof HTMLSelectElement || (at instanceof HTMLInputElement && !['radio', 'checkbox', 'button', 'range'].includes(at.type)));
}
