import {
  CandlestickSeries,
  ColorType,
  CrosshairMode,
  HistogramSeries,
  TickMarkType,
  createChart,
  createTextWatermark,
  type CandlestickData,
  type HistogramData,
  type IChartApi,
  type ISeriesApi,
  type ITextWatermarkPluginApi,
  type Time,
  type UTCTimestamp,
} from 'lightweight-charts';
import { Candles, CandlesError, fetchCandles, type Interval } from './candles';
import { compact, decimalsFor, format, toNumber } from './decimal';
import { setText } from './dom';
import { day, minuteClock, utcDay } from './text';
import type { Candle, Window } from './wire';

const usualCandles = 120;
const fewestCandles = 40;
/** Older candles are asked for when this many are left at the left edge. */
const nearEdge = 30;

export interface Legend {
  box: HTMLElement;
  time: HTMLElement;
  open: HTMLElement;
  high: HTMLElement;
  low: HTMLElement;
  close: HTMLElement;
  volume: HTMLElement;
}

/** What stands over the chart instead of candles, or beneath them as a note. */
export type ChartNote = { kind: 'none' } | { kind: 'loading' } | { kind: 'empty'; text: string } | { kind: 'error'; text: string } | { kind: 'warning'; text: string };

function colours() {
  const style = getComputedStyle(document.documentElement);
  const get = (name: string) => style.getPropertyValue(name).trim();
  return {
    text: get('--ink-2'), rule: get('--grid'), line: get('--rule'), cross: get('--ink-3'), label: get('--raised-2'),
    up: get('--up'), down: get('--down'), upVolume: get('--up-volume'), downVolume: get('--down-volume'), mark: get('--watermark'),
  };
}

/** The candles of one symbol, which move with every update. */
export class ChartView {
  private readonly chart: IChartApi;
  private readonly candleSeries: ISeriesApi<'Candlestick'>;
  private readonly volumeSeries: ISeriesApi<'Histogram'>;
  private readonly watermark: ITextWatermarkPluginApi<Time>;
  private palette = colours();
  private symbol = '';
  private interval: Interval = '1m';
  private candles: Candles | null = null;
  private early: Window[] = []; // that came while history was on its way
  private loading: AbortController | null = null;
  private older: AbortController | null = null;
  private oldest = false;
  private drawn = 0; // start of the newest candle drawn
  private hovered: number | null = null;
  private simulated = false;

  constructor(
    private readonly container: HTMLElement,
    private readonly legend: Legend,
    private readonly note: (n: ChartNote) => void,
    live: HTMLButtonElement,
  ) {
    this.chart = createChart(container, {
      autoSize: true,
      layout: {
        background: { type: ColorType.Solid, color: 'transparent' },
        fontFamily: "'IBM Plex Sans', system-ui, sans-serif",
        fontSize: 11,
        // The page's own footer carries the attribution: the logo would need inline styles.
        attributionLogo: false,
      },
      rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.16, bottom: 0.08 } },
      timeScale: {
        timeVisible: true, secondsVisible: false, borderVisible: false, rightOffset: 6, barSpacing: 8, minBarSpacing: 1.5,
        tickMarkFormatter: (time: Time, kind: TickMarkType) => this.tickMark(time as number, kind),
      },
      localization: { timeFormatter: (time: Time) => this.fullTime((time as number) * 1000) },
      crosshair: { mode: CrosshairMode.Normal },
    });
    this.candleSeries = this.chart.addSeries(CandlestickSeries, { borderVisible: false, priceLineStyle: 1 });
    this.volumeSeries = this.chart.addSeries(HistogramSeries, {
      priceFormat: { type: 'custom', formatter: (v: number) => compact(String(Math.round(v))), minMove: 1 },
      priceLineVisible: false, lastValueVisible: false,
    }, 1);
    this.volumeSeries.priceScale().applyOptions({ scaleMargins: { top: 0.1, bottom: 0 } });
    const [prices, volumes] = this.chart.panes();
    prices!.setStretchFactor(5);
    volumes!.setStretchFactor(1);
    this.watermark = createTextWatermark(prices!, { horzAlign: 'center', vertAlign: 'center', lines: [] });
    this.dress();
    matchMedia('(prefers-color-scheme: light)').addEventListener('change', () => {
      this.dress();
      this.drawAll(true);
    });
    this.chart.subscribeCrosshairMove((p) => {
      this.hovered = p.time === undefined ? null : (p.time as number) * 1000;
      this.tellLegend();
    });
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      live.hidden = this.chart.timeScale().scrollPosition() > -2;
      if (range && range.from < nearEdge) void this.loadOlder();
    });
    live.addEventListener('click', () => this.chart.timeScale().scrollToPosition(4, false));
  }

  /** Shows another symbol or interval, or the same one anew. */
  open(symbol: string, interval: Interval, price: string | undefined): void {
    const same = symbol === this.symbol && interval === this.interval;
    this.symbol = symbol;
    this.interval = interval;
    if (!same) {
      this.candles = null;
      this.hovered = null;
      this.candleSeries.setData([]);
      this.volumeSeries.setData([]);
      this.tellLegend();
    }
    if (price !== undefined) this.scale(price);
    this.chart.timeScale().applyOptions({ timeVisible: interval !== '1d' });
    void this.load(same);
  }

  /** Takes in what a delta said of a symbol. */
  update(symbol: string, windows: Window[]): void {
    if (symbol !== this.symbol || windows.length === 0) return;
    if (this.loading) this.early.push(...windows);
    if (!this.candles) return;
    this.draw(this.candles.update(windows));
  }

  mark(simulated: boolean): void {
    if (simulated === this.simulated) return;
    this.simulated = simulated;
    this.dress();
  }

  private async load(same: boolean): Promise<void> {
    this.loading?.abort();
    this.older?.abort();
    this.older = null;
    const loading = new AbortController();
    this.loading = loading;
    this.early = [];
    this.oldest = false;
    if (!this.candles) this.note({ kind: 'loading' });
    try {
      const answer = await fetchCandles(this.symbol, this.interval, loading.signal);
      if (loading.signal.aborted) return;
      if (answer.candles[0]) this.scale(answer.candles[0].close);
      this.candles = new Candles(answer, this.interval);
      this.candles.update(this.early);
      const some = this.drawAll(same);
      if (answer.problem) this.note({ kind: 'warning', text: answer.problem });
      else if (some === 0) this.note({ kind: 'empty', text: `No candles of ${this.symbol} yet. The first trade draws one.` });
      else this.note({ kind: 'none' });
    } catch (e) {
      if (loading.signal.aborted) return;
      if (e instanceof CandlesError && e.unknown) this.note({ kind: 'empty', text: e.message });
      else this.note({ kind: this.candles ? 'warning' : 'error', text: e instanceof CandlesError ? e.message : 'The dashboard does not answer.' });
    } finally {
      if (this.loading === loading) this.loading = null;
    }
  }

  private async loadOlder(): Promise<void> {
    const candles = this.candles;
    const first = candles?.all()[0];
    if (!candles || !first || this.older || this.oldest || this.loading) return;
    const older = new AbortController();
    this.older = older;
    try {
      const answer = await fetchCandles(this.symbol, this.interval, older.signal, first.start);
      if (older.signal.aborted || candles !== this.candles) return;
      if (candles.prepend(answer.candles)) this.drawAll(true);
      else if (!answer.problem) this.oldest = true;
    } catch {
      this.oldest = true; // the next load asks again
    } finally {
      if (this.older === older) this.older = null;
    }
  }

  private scale(price: string): void {
    const decimals = decimalsFor(this.symbol, price);
    this.candleSeries.applyOptions({
      priceFormat: { type: 'custom', minMove: 10 ** -decimals, formatter: (v: number) => format(v.toFixed(8), decimals) },
    });
  }

  /** Draws all candles, from the same place looked at where stay is true, and returns how many there are. */
  private drawAll(stay: boolean): number {
    const all = this.candles?.all() ?? [];
    this.candleSeries.setData(all.map((c) => bar(c)));
    this.volumeSeries.setData(all.map((c) => this.volume(c)));
    // The library keeps the distance to the newest candle by itself.
    if (!stay) {
      // A market that has just begun has few; they are drawn wide rather than lost at the edge.
      const shown = Math.min(usualCandles, Math.floor(this.container.clientWidth / 7), Math.max(all.length, fewestCandles));
      this.chart.timeScale().setVisibleLogicalRange({ from: all.length - shown, to: all.length + 4 });
    }
    this.drawn = all.at(-1)?.start ?? 0;
    this.tellLegend();
    return all.length;
  }

  private draw(starts: number[]): void {
    if (starts.some((s) => s < this.drawn)) {
      // Only a late trade changes the past.
      this.drawAll(true);
      return;
    }
    for (const start of starts) {
      const c = this.candles?.candle(start);
      if (!c) continue;
      if (this.drawn === 0) this.note({ kind: 'none' });
      this.candleSeries.update(bar(c));
      this.volumeSeries.update(this.volume(c));
      this.drawn = start;
    }
    this.tellLegend();
  }

  private volume(c: Candle): HistogramData {
    const up = toNumber(c.close) >= toNumber(c.open);
    return { time: at(c.start), value: toNumber(c.volume), color: up ? this.palette.upVolume : this.palette.downVolume };
  }

  private tellLegend(): void {
    const c = this.candles?.candle(this.hovered ?? this.drawn) ?? null;
    this.legend.box.hidden = c === null;
    if (!c) return;
    const decimals = decimalsFor(this.symbol, c.close);
    const up = toNumber(c.close) >= toNumber(c.open);
    this.legend.box.dataset['sign'] = up ? '1' : '-1';
    setText(this.legend.time, this.fullTime(c.start));
    setText(this.legend.open, format(c.open, decimals));
    setText(this.legend.high, format(c.high, decimals));
    setText(this.legend.low, format(c.low, decimals));
    setText(this.legend.close, format(c.close, decimals));
    setText(this.legend.volume, compact(c.volume));
  }

  private fullTime(ms: number): string {
    if (this.interval === '1d') return utcDay.format(ms);
    return `${day.format(ms)} ${minuteClock.format(ms)}`;
  }

  private tickMark(seconds: number, kind: TickMarkType): string {
    const ms = seconds * 1000;
    if (kind === TickMarkType.Time || kind === TickMarkType.TimeWithSeconds) return minuteClock.format(ms);
    if (this.interval === '1d') return kind === TickMarkType.Year ? String(new Date(ms).getUTCFullYear()) : utcDay.format(ms).replace(/[ ,]*\d{4}$/, '');
    return day.format(ms);
  }

  private dress(): void {
    const c = (this.palette = colours());
    this.chart.applyOptions({
      layout: { textColor: c.text, panes: { separatorColor: c.line, separatorHoverColor: c.line, enableResize: false } },
      grid: { vertLines: { color: c.rule }, horzLines: { color: c.rule } },
      crosshair: { vertLine: { color: c.cross, labelBackgroundColor: c.label }, horzLine: { color: c.cross, labelBackgroundColor: c.label } },
    });
    this.candleSeries.applyOptions({ upColor: c.up, downColor: c.down, wickUpColor: c.up, wickDownColor: c.down });
    this.watermark.applyOptions({
      lines: this.simulated
        ? [{ text: 'SIMULATED', color: c.mark, fontSize: innerWidth < 720 ? 34 : 60, fontFamily: "'IBM Plex Sans', sans-serif", fontStyle: '600' }]
        : [],
    });
  }
}

function at(ms: number): UTCTimestamp {
  return (ms / 1000) as UTCTimestamp;
}

function bar(c: Candle): CandlestickData {
  return { time: at(c.start), open: toNumber(c.open), high: toNumber(c.high), low: toNumber(c.low), close: toNumber(c.close) };
}
