import './style.css';

import type { App } from '../app';
import { byId } from '../dom';
import { help } from './help';
import { announce } from './live';
import { tables } from './tables';

/** Starts what makes the whole page usable by keyboard and screen reader. */
export function start(app: App): void {
  // The address names a view, so the link to the content may not change it.
  document.querySelector('.skip')!.addEventListener('click', (e) => {
    e.preventDefault();
    byId('main').focus();
  });
  help(app);
  announce(app);
  tables(app);
}
