// Indicators of a chart: pure arithmetic in floating point, for drawing. Each is
// brought up to date from the first bar that changed, so a tick in the open bar
// costs no more than one bar, and a late one no more than what follows it.

export interface Bar {
  /** ms since 1970. */
  readonly time: number;
  readonly open: number;
  readonly high: number;
  readonly low: number;
  readonly close: number;
  readonly volume: number;
  /** Sum of price × size, where it is known. */
  readonly turnover: number | undefined;
}

/** A line's value at each bar; null where there is none yet. */
export type Line = (number | null)[];

export interface Indicator {
  readonly lines: readonly Line[];
  /** Takes in that the bars changed from index from onwards. What lies before it must be as it was. */
  update(bars: readonly Bar[], from: number): void;
}

/** Simple moving average of the closes of the last n bars. */
export class Sma implements Indicator {
  readonly lines: [Line] = [[]];

  constructor(private readonly n: number) {}

  update(bars: readonly Bar[], from: number): void {
    const [line] = this.lines;
    line.length = Math.min(from, bars.length);
    for (let i = line.length; i < bars.length; i++) line.push(i + 1 < this.n ? null : mean(bars, i, this.n));
  }
}

/** Exponential moving average of the closes, weight 2/(n+1), which begins as the simple one of the first n. */
export class Ema implements Indicator {
  readonly lines: [Line] = [[]];

  constructor(private readonly n: number) {}

  update(bars: readonly Bar[], from: number): void {
    const [line] = this.lines;
    line.length = Math.min(from, bars.length);
    const weight = 2 / (this.n + 1);
    for (let i = line.length; i < bars.length; i++) {
      const before = line[i - 1];
      if (i + 1 < this.n) line.push(null);
      else if (before === null || before === undefined) line.push(mean(bars, i, this.n));
      else line.push(before + weight * (bars[i]!.close - before));
    }
  }
}

/** Bollinger bands: the simple average of n closes, and k population standard deviations above and below it. */
export class Bollinger implements Indicator {
  readonly lines: [middle: Line, upper: Line, lower: Line] = [[], [], []];

  constructor(
    private readonly n: number,
    private readonly k: number,
  ) {}

  update(bars: readonly Bar[], from: number): void {
    const [middle, upper, lower] = this.lines;
    for (const line of this.lines) line.length = Math.min(from, bars.length);
    for (let i = middle.length; i < bars.length; i++) {
      if (i + 1 < this.n) {
        for (const line of this.lines) line.push(null);
        continue;
      }
      const m = mean(bars, i, this.n);
      let squares = 0;
      for (let j = i - this.n + 1; j <= i; j++) squares += (bars[j]!.close - m) ** 2;
      const width = this.k * Math.sqrt(squares / this.n);
      middle.push(m);
      upper.push(m + width);
      lower.push(m - width);
    }
  }
}

/** Relative strength index after Wilder: 0 to 100, from the smoothed gains and losses of n changes. */
export class Rsi implements Indicator {
  readonly lines: [Line] = [[]];
  private readonly gains: number[] = [];
  private readonly losses: number[] = [];

  constructor(private readonly n: number) {}

  update(bars: readonly Bar[], from: number): void {
    const [line] = this.lines;
    line.length = this.gains.length = this.losses.length = Math.min(from, bars.length);
    for (let i = line.length; i < bars.length; i++) {
      const change = i === 0 ? 0 : bars[i]!.close - bars[i - 1]!.close;
      const before = this.gains[i - 1] ?? 0;
      const lost = this.losses[i - 1] ?? 0;
      // The first n changes are averaged plainly: until then these hold their sum over n.
      const seeding = i <= this.n;
      this.gains.push(seeding ? before + Math.max(change, 0) / this.n : (before * (this.n - 1) + Math.max(change, 0)) / this.n);
      this.losses.push(seeding ? lost + Math.max(-change, 0) / this.n : (lost * (this.n - 1) + Math.max(-change, 0)) / this.n);
      const gain = this.gains[i]!;
      const loss = this.losses[i]!;
      line.push(i < this.n ? null : gain + loss === 0 ? 50 : (100 * gain) / (gain + loss));
    }
  }
}

/**
 * Volume-weighted average price since the session began: turnover over volume, exact where bars carry their turnover, else of their typical prices.
 * Of a session whose beginning is not among the bars it tells nothing.
 */
export class Vwap implements Indicator {
  readonly lines: [Line] = [[]];
  private readonly turnovers: number[] = [];
  private readonly volumes: number[] = [];

  /** session tells the trading day of a time, by any number that differs between days; whole tells whether the first of them is here from its beginning. */
  constructor(
    private readonly session: (time: number) => number,
    private readonly whole: () => boolean,
  ) {}

  update(bars: readonly Bar[], from: number): void {
    const [line] = this.lines;
    line.length = this.turnovers.length = this.volumes.length = Math.min(from, bars.length);
    const cut = bars[0] && !this.whole() ? this.session(bars[0].time) : null;
    for (let i = line.length; i < bars.length; i++) {
      const b = bars[i]!;
      const goesOn = i > 0 && !this.endsAt(bars, i - 1);
      this.turnovers.push((goesOn ? this.turnovers[i - 1]! : 0) + (b.turnover ?? ((b.high + b.low + b.close) / 3) * b.volume));
      this.volumes.push((goesOn ? this.volumes[i - 1]! : 0) + b.volume);
      line.push(this.volumes[i]! > 0 && this.session(b.time) !== cut ? this.turnovers[i]! / this.volumes[i]! : null);
    }
  }

  /** Whether a session's last bar is at i, so that no line leads from it to the next. */
  endsAt(bars: readonly Bar[], i: number): boolean {
    return i + 1 < bars.length && this.session(bars[i]!.time) !== this.session(bars[i + 1]!.time);
  }
}

function mean(bars: readonly Bar[], end: number, n: number): number {
  let sum = 0;
  for (let j = end - n + 1; j <= end; j++) sum += bars[j]!.close;
  return sum / n;
}

// Which indicators a chart shows, as its address tells: volume,vwap,sma:20:50,bb:20:2,rsi:14.

export interface Chosen {
  volume: boolean;
  vwap: boolean;
  sma: number[];
  ema: number[];
  bollinger: { n: number; k: number } | null;
  rsi: number | null;
}

export const usual: Readonly<Chosen> = { volume: true, vwap: false, sma: [], ema: [], bollinger: null, rsi: null };

const longest = 400;
const most = 4;

/** Reads what an address says; what it can't mean is left out. */
export function parseChosen(text: string): Chosen {
  const c: Chosen = { volume: false, vwap: false, sma: [], ema: [], bollinger: null, rsi: null };
  for (const part of text.split(',')) {
    const [name = '', ...rest] = part.split(':');
    const numbers = rest.map(Number);
    if (name === 'volume') c.volume = true;
    else if (name === 'vwap') c.vwap = true;
    else if (name === 'sma') c.sma = lengths(numbers);
    else if (name === 'ema') c.ema = lengths(numbers);
    else if (name === 'bb') c.bollinger = { n: lengths([numbers[0] ?? 20])[0] ?? 20, k: within(numbers[1] ?? 2, 0.1, 10) ?? 2 };
    else if (name === 'rsi') c.rsi = lengths([numbers[0] ?? 14])[0] ?? 14;
  }
  return c;
}

export function formatChosen(c: Chosen): string {
  return [
    c.volume && 'volume', c.vwap && 'vwap', c.sma.length > 0 && `sma:${c.sma.join(':')}`, c.ema.length > 0 && `ema:${c.ema.join(':')}`,
    c.bollinger && `bb:${c.bollinger.n}:${c.bollinger.k}`, c.rsi !== null && `rsi:${c.rsi}`,
  ].filter(Boolean).join(',');
}

/** Lengths of averages that can be drawn: whole, 2 to 400, each once, four at most. */
export function lengths(numbers: number[]): number[] {
  return [...new Set(numbers.filter((n) => Number.isInteger(n) && n >= 2 && n <= longest))].slice(0, most);
}

function within(n: number, low: number, high: number): number | null {
  return n >= low && n <= high ? n : null;
}
