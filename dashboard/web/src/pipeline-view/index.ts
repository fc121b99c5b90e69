import type { App } from '../app';
import type { Mounted } from '../view';

export function mount(_host: HTMLElement, _app: App): Mounted {
  return { show: () => {}, hide: () => {} };
}
