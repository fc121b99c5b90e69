import './style.css';

import type { App } from '../app';
import { help } from './help';
import { announce } from './live';
import { tables } from './tables';

/** Starts what makes the whole page usable by keyboard and screen reader. */
export function start(app: App): void {
  help(app);
  announce(app);
  tables(app);
}
