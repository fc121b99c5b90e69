import { toNumber } from '../decimal';
import type { QuoteUpdate } from '../wire';

interface Answer {
  now: number;
  step: number;
  sparklines: { symbol: string; start: number; end: number; complete: boolean; points: [number, string][] }[];
}

export interface Sparkline {
  /** The exchange's day, ms. */
  start: number;
  end: number;
  /** Closes by step since start; empty where nothing traded. */
  closes: (number | undefined)[];
}

const again = 5_000;

/** The day of each symbol in closes of five minutes: asked once, then carried on with the stream's windows. */
export class Sparklines {
  private readonly lines = new Map<string, Sparkline>();
  private step = 300_000;
  private loading = false;
  private timer = 0;

  constructor(private readonly changed: (symbols: Iterable<string>) => void) {}

  get(symbol: string): Sparkline | undefined {
    return this.lines.get(symbol);
  }

  async load(): Promise<void> {
    if (this.loading) return;
    this.loading = true;
    clearTimeout(this.timer);
    let complete = false;
    try {
      const response = await fetch('api/sparklines', { cache: 'no-store' });
      if (response.ok) {
        const answer = (await response.json()) as Answer;
        this.step = answer.step;
        this.lines.clear();
        for (const s of answer.sparklines) {
          const closes: (number | undefined)[] = [];
          for (const [i, close] of s.points) closes[i] = toNumber(close);
          this.lines.set(s.symbol, { start: s.start, end: s.end, closes });
        }
        complete = answer.sparklines.every((s) => s.complete);
        this.changed(this.lines.keys());
      }
    } catch {
      // Asked again below.
    } finally {
      this.loading = false;
    }
    if (!complete) this.later();
  }

  /** Carries a symbol's line on. */
  update(u: QuoteUpdate): void {
    const line = this.lines.get(u.symbol);
    if (!line || u.time >= line.end) {
      this.later(); // another symbol, or another day
      return;
    }
    for (const w of u.windows) {
      if (w.start < line.start || w.start >= line.end) continue;
      const i = Math.floor((w.start - line.start) / this.step);
      // Of a step's minutes the last one closes it, and the newest window is the last of its day.
      if (i >= line.closes.length - 1) line.closes[i] = toNumber(w.close);
    }
  }

  private later(): void {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.load(), again);
  }
}

/** A line as an SVG path in a box of width by height; the day's length is the width. Empty where there are fewer than two points. */
export function path(line: Sparkline, step: number, width: number, height: number, base: number | undefined): { line: string; base: number | null; x: number; y: number } | null {
  let low = base ?? Infinity;
  let high = base ?? -Infinity;
  let first = -1;
  let last = -1;
  line.closes.forEach((c, i) => {
    if (c === undefined) return;
    if (first < 0) first = i;
    last = i;
    low = Math.min(low, c);
    high = Math.max(high, c);
  });
  if (first === last) return null;
  const span = high - low || 1;
  const whole = Math.max((line.end - line.start) / step - 1, 1);
  // A day of which little is over, or of which only some hours trade, fills the box all the same.
  const room = Math.max(last - first, whole / 4);
  const y = (v: number) => Math.round((1.5 + (1 - (v - low) / span) * (height - 3)) * 10) / 10;
  const x = (i: number) => Math.round((((i - first) * (width - 4)) / room + 1) * 10) / 10;
  let d = '';
  for (let i = first; i <= last; i++) {
    const c = line.closes[i];
    if (c !== undefined) d += `${d ? 'L' : 'M'}${x(i)} ${y(c)}`;
  }
  return { line: d, base: base === undefined ? null : y(base), x: x(last), y: y(line.closes[last]!) };
}
