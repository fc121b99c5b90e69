// One stop of the Tab key for a whole list, within which arrow keys move: the
// roving tabindex of the ARIA Authoring Practices.

/** Where a key leads to from item i of n, or -1 where it leads nowhere. */
export type Step = (key: string, i: number, n: number) => number;

/** A list from top to bottom; ends are not passed. */
export const vertical: Step = (key, i, n) => {
  switch (key) {
    case 'ArrowDown': return Math.min(i + 1, n - 1);
    case 'ArrowUp': return Math.max(i - 1, 0);
    case 'Home': return 0;
    case 'End': return n - 1;
    case 'PageDown': return Math.min(i + 10, n - 1);
    case 'PageUp': return Math.max(i - 10, 0);
    default: return -1;
  }
};

/** Keys for a set in which both axes lead on, such as a toolbar. */
export const either: Step = (key, i, n) => vertical(key === 'ArrowRight' ? 'ArrowDown' : key === 'ArrowLeft' ? 'ArrowUp' : key, i, n);

/**
 * Makes what items returns one stop of the Tab key. Call the returned function
 * after items came or went: the stop stays where it was if that is still there.
 */
export function roving(host: HTMLElement, items: () => HTMLElement[], step: Step = vertical): () => void {
  let stop: HTMLElement | null = null;
  const settle = (): void => {
    const all = items();
    if (!stop || !all.includes(stop)) stop = all[0] ?? null;
    for (const e of all) if (e.tabIndex !== (e === stop ? 0 : -1)) e.tabIndex = e === stop ? 0 : -1;
  };
  host.addEventListener('focusin', (e) => {
    const item = items().find((i) => i.contains(e.target as Node));
    if (!item) return;
    stop = item;
    settle();
  });
  host.addEventListener('keydown', (e) => {
    if (e.altKey || e.ctrlKey || e.metaKey || e.shiftKey) return;
    const all = items();
    const i = all.findIndex((item) => item.contains(e.target as Node));
    if (i < 0) return;
    const to = step(e.key, i, all.length);
    if (to < 0) return;
    e.preventDefault();
    all[to]?.focus();
  });
  settle();
  return settle;
}
