import type { App } from './app';

/** A view: one entry of the navigation, in its own section of the page. */
export interface View {
  /** Its name in the address: #/market. */
  id: string;
  /** Its name in the navigation. */
  title: string;
  /** Path of its icon in a box of 20 by 20, drawn as a line. */
  icon: string;
  /** Loads what it is made of; called when it is first shown. */
  load(): Promise<{ mount(host: HTMLElement, app: App): Mounted }>;
}

/** A view that has been built. It must cost nothing while it is not shown. */
export interface Mounted {
  show(): void;
  hide(): void;
}

export const views: View[] = [
  {
    id: 'watch',
    title: 'Watch',
    icon: 'M3 5h5M3 10h5M3 15h5M12 3v3m0 6v5M10.5 6h3v6h-3zM17 6v2m0 4v3M15.5 8h3v4h-3z',
    load: () => import('./watch-view'),
  },
  {
    id: 'market',
    title: 'Market',
    icon: 'M3 3h8v8H3zM13 3h4v5h-4zM13 10h4v7h-4zM3 13h8v4H3z',
    load: () => import('./market-view'),
  },
  {
    id: 'pipeline',
    title: 'Pipeline',
    icon: 'M2 10h4l2-6 4 12 2-6h4',
    load: () => import('./pipeline-view'),
  },
];
