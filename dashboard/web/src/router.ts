import { Signal } from './store';

/**
 * Where the page is, as its address tells after the #:
 * #/watch/AAPL?interval=5m, that is /VIEW/SYMBOL?PARAMETERS. A bare #AAPL is that
 * symbol in the watch view.
 */
export interface Route {
  readonly view: string;
  /** Empty where the address names none. */
  readonly symbol: string;
  readonly params: Readonly<Record<string, string>>;
}

export interface Move {
  view?: string;
  symbol?: string;
  /** Parameters to set, or with '' to take away. Those not named stay, in the same view. */
  params?: Record<string, string>;
}

export class Router {
  readonly route: Signal<Route>;
  private readonly last = new Map<string, string>(); // by view, where it was left

  constructor(private readonly first: string) {
    this.route = new Signal(parse(location.hash, first));
    this.remember();
    const follow = () => {
      this.route.set(parse(location.hash, this.first));
      this.remember();
    };
    addEventListener('hashchange', follow);
    addEventListener('popstate', follow);
  }

  get(): Route {
    return this.route.get();
  }

  param(name: string): string {
    return this.get().params[name] ?? '';
  }

  /** The address of a view as it was left. */
  home(view: string): string {
    return this.last.get(view) ?? format({ view, symbol: '', params: {} });
  }

  /** The address that a move leads to. */
  href(move: Move): string {
    const now = this.get();
    const view = move.view ?? now.view;
    const params = { ...(view === now.view ? now.params : {}), ...move.params };
    return format({ view, symbol: move.symbol ?? (view === now.view ? now.symbol : ''), params });
  }

  /** Goes there. With replace the step back leads to where the page was before the current place. */
  go(move: Move, replace = false): void {
    const to = this.href(move);
    if (to === format(this.get()) && location.hash !== '') return;
    if (replace) history.replaceState(null, '', to);
    else history.pushState(null, '', to);
    this.route.set(parse(to, this.first));
    this.remember();
  }

  private remember(): void {
    this.last.set(this.get().view, format(this.get()));
  }
}

export function parse(hash: string, first: string): Route {
  const text = hash.replace(/^#/, '');
  if (!text.startsWith('/')) return { view: first, symbol: decode(text), params: {} };
  const [path = '', query = ''] = text.split('?', 2);
  const [, view = '', symbol = ''] = path.split('/');
  return { view: decode(view) || first, symbol: decode(symbol), params: Object.fromEntries(new URLSearchParams(query)) };
}

export function format(r: Route): string {
  const query = new URLSearchParams(Object.entries(r.params).filter(([, v]) => v !== ''));
  // What is legible in an address stays so: with=sma:20,ema:50.
  const text = query.toString().replaceAll('%2C', ',').replaceAll('%3A', ':');
  return `#/${encodeURIComponent(r.view)}${r.symbol ? '/' + encodeURIComponent(r.symbol) : ''}${text ? '?' + text : ''}`;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}
