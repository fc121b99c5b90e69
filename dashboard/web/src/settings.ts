import { Signal } from './store';
import { useZone } from './text';

export const themes = ['auto', 'dark', 'light', 'contrast'] as const;
export const palettes = ['classic', 'safe'] as const;
export const zones = ['exchange', 'local', 'utc'] as const;
export const motions = ['auto', 'less'] as const;
export const densities = ['roomy', 'compact'] as const;

export interface Settings {
  theme: (typeof themes)[number];
  /** Colours of up and down: green and red, or blue and orange. */
  palette: (typeof palettes)[number];
  /** Whose clock times are written by. */
  zone: (typeof zones)[number];
  motion: (typeof motions)[number];
  density: (typeof densities)[number];
  tape: boolean;
  /** Width of the watch list beside the chart in CSS pixels; 0 for what suits the window. */
  listWidth: number;
  /** The length of candles and the indicators that were last chosen, as the address has them. */
  interval: string;
  indicators: string;
}

const usual: Settings = { theme: 'auto', palette: 'classic', zone: 'exchange', motion: 'auto', density: 'roomy', tape: true, listWidth: 0, interval: '', indicators: '' };
const allowed: { [K in keyof Settings]?: readonly unknown[] } = { theme: themes, palette: palettes, zone: zones, motion: motions, density: densities };

// public/theme.js reads the same place before the first paint.
const place = 'ticktape';

const light = matchMedia('(prefers-color-scheme: light)');
const contrast = matchMedia('(prefers-contrast: more)');
const calmer = matchMedia('(prefers-reduced-motion: reduce)');

/** What a person has set, kept on this device. */
export class SettingsStore {
  readonly all: Signal<Settings>;
  /** Counts how often the page's colours have changed: what is drawn on a canvas follows it. */
  readonly look = new Signal(0);
  /** Whose clock times are written by, alone. */
  readonly zone: Signal<Settings['zone']>;

  constructor() {
    this.all = new Signal(read());
    this.zone = new Signal(this.all.get().zone);
    this.all.follow((s) => {
      useZone(s.zone);
      this.zone.set(s.zone);
    });
    this.all.follow(() => this.dress());
    for (const query of [light, contrast, calmer]) query.addEventListener('change', () => this.dress());
    // Another tab's settings are this one's too.
    addEventListener('storage', (e) => {
      if (e.key === place) this.all.set(read());
    });
  }

  get(): Settings {
    return this.all.get();
  }

  set(change: Partial<Settings>): void {
    const next = { ...this.all.get(), ...change };
    try {
      localStorage.setItem(place, JSON.stringify(next));
    } catch {
      // Storage is shut: the setting holds until the page is closed.
    }
    this.all.set(next);
  }

  private dress(): void {
    const s = this.all.get();
    const root = document.documentElement.dataset;
    const before = `${root['theme']} ${root['palette']}`;
    root['theme'] = s.theme !== 'auto' ? s.theme : contrast.matches ? 'contrast' : light.matches ? 'light' : 'dark';
    root['palette'] = s.palette;
    root['density'] = s.density;
    root['motion'] = s.motion === 'less' || calmer.matches ? 'less' : 'full';
    if (before !== `${root['theme']} ${root['palette']}`) this.look.set(this.look.get() + 1);
  }
}

/** Whether nothing is to move by itself. */
export function calm(): boolean {
  return document.documentElement.dataset['motion'] === 'less';
}

/** The value of a design token, such as --up, for what is drawn on a canvas. */
export function token(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function read(): Settings {
  let kept: Record<string, unknown> = {};
  try {
    kept = Object(JSON.parse(localStorage.getItem(place) ?? '{}')) as Record<string, unknown>;
  } catch {
    // Shut, or not of our writing.
  }
  const s: Record<string, unknown> = { ...usual };
  for (const [name, value] of Object.entries(usual)) {
    const v = kept[name];
    const list = allowed[name as keyof Settings];
    if (typeof v === typeof value && (!list || list.includes(v))) s[name] = v;
  }
  return s as unknown as Settings;
}
