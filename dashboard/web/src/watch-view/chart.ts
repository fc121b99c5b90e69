import {
  CandlestickSeries, ColorType, CrosshairMode, HistogramSeries, LineSeries, LineStyle, PriceScaleMode, TickMarkType, createChartEx, createTextWatermark,
  type CandlestickData, type DeepPartial, type HistogramData, type IChartApiBase, type ISeriesApi, type ITextWatermarkPluginApi, type LineData, type Time, type TimeChartOptions, type UTCTimestamp, type WhitespaceData,
} from 'lightweight-charts';
import { Candles, CandlesError, fetchCandles, type Interval } from '../candles';
import { compact, decimalsFor, format, toNumber } from '../decimal';
import { zoneOf } from '../exchanges';
import { Bollinger, Ema, Rsi, Sma, Vwap, type Bar, type Chosen, type Indicator, type Line } from '../indicators';
import { sessionAt } from '../sessions';
import { token } from '../settings';
import { textIn, zoneFor, zonedText, type Shape } from '../text';
import type { Candle, Window } from '../wire';
import { dayIn } from '../zone-offset';
import { Shading } from './shading';
import { ZonedScale } from './time-scale';

const usualCandles = 140;
const fewestCandles = 40;
/** Older candles are asked for when this many are left at the left edge. */
const nearEdge = 40;

/** What stands over the chart instead of candles, or above them as a note. */
export type ChartNote = { kind: 'none' | 'loading' } | { kind: 'empty' | 'unknown' | 'error' | 'warning'; text: string };

export interface Subject {
  symbol: string;
  interval: Interval;
  exchange: string;
  /** A price as it is, which tells how many decimals are usual. */
  price: string | undefined;
}

/** What the legend says of the candle that is pointed at, or else of the newest. */
export interface Reading {
  candle: Candle;
  before: Candle | null;
  index: number;
}

/** One line of an indicator, or of a symbol that is compared. */
export interface Drawn {
  key: string;
  label: string;
  colour: string;
  /** Drawn in dashes, because another line has its colour. */
  dashed: boolean;
  series: ISeriesApi<'Line', Time>;
  line: Line;
  /** Whether the line is broken behind bar i. */
  ends?: (i: number) => boolean;
}

interface Other {
  symbol: string;
  candles: Candles | null;
  loading: AbortController | null;
  early: Window[];
  line: Line;
  drawn: Drawn;
  /** How far back it was asked for. */
  from: number;
}

interface Events {
  note(n: ChartNote): void;
  /** The legend has to be written anew. */
  read(): void;
  scrolled(awayFromLive: boolean): void;
}

/** The candles of one symbol, which move with every update, with what is drawn over and below them. */
export class ChartView {
  /** Lines drawn at present, in order: indicators, then compared symbols. */
  drawn: Drawn[] = [];
  private readonly scale = new ZonedScale();
  private readonly chart: IChartApiBase<Time>;
  private readonly series: ISeriesApi<'Candlestick', Time>;
  private readonly watermark: ITextWatermarkPluginApi<Time>;
  private readonly shading = new Shading();
  private volume: ISeriesApi<'Histogram', Time> | null = null;
  private subject: Subject = { symbol: '', interval: '1m', exchange: '', price: undefined };
  private chosen: Chosen = { volume: true, vwap: false, sma: [], ema: [], bollinger: null, rsi: null };
  private sessions = true;
  private simulated = false;
  private candles: Candles | null = null;
  private list: Candle[] = [];
  private bars: Bar[] = [];
  private readonly index = new Map<number, number>();
  private indicators: { indicator: Indicator; drawn: Drawn[] }[] = [];
  private others: Other[] = [];
  private early: Window[] = []; // that came while history was on its way
  private loading: AbortController | null = null;
  private older: AbortController | null = null;
  private oldest = false; // no older candles are asked for
  private begins = false; // nothing older is stored
  private readonly changed = new Set<number>(); // candles to draw in the next frame
  private hovered: number | null = null;
  private fitted = false;
  private palette = { up: '', down: '' };

  constructor(
    private readonly container: HTMLElement,
    private readonly on: Events,
  ) {
    const options: DeepPartial<TimeChartOptions> = {
      autoSize: true,
      layout: {
        background: { type: ColorType.Solid, color: 'transparent' },
        fontFamily: "'IBM Plex Sans', system-ui, sans-serif",
        fontSize: 11,
        // The foot of the page carries the attribution: the logo would need inline styles, which the page's policy forbids.
        attributionLogo: false,
      },
      rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.14, bottom: 0.06 } },
      timeScale: {
        timeVisible: true, secondsVisible: false, borderVisible: false, rightOffset: 6, barSpacing: 8, minBarSpacing: 0.8,
        tickMarkFormatter: (time: Time, kind: TickMarkType) => this.tickMark((time as number) * 1000, kind),
      },
      localization: { timeFormatter: (time: Time) => this.timeText((time as number) * 1000) },
      crosshair: { mode: CrosshairMode.Normal },
    };
    this.chart = createChartEx<Time, ZonedScale>(container, this.scale, options);
    this.series = this.chart.addSeries(CandlestickSeries, { borderVisible: false, priceLineStyle: LineStyle.Dotted });
    this.series.attachPrimitive(this.shading);
    this.watermark = createTextWatermark(this.chart.panes()[0]!, { horzAlign: 'center', vertAlign: 'center', lines: [] });
    this.compose();
    this.chart.subscribeCrosshairMove((p) => {
      this.hovered = p.time === undefined ? null : (p.time as number) * 1000;
      this.on.read();
    });
    this.chart.timeScale().subscribeSizeChange(() => this.fit());
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (this.bars.length === 0 || !range) return;
      this.on.scrolled(range.to < this.bars.length - 1);
      if (range.from < nearEdge) void this.loadOlder();
      if (this.others.length > 0) this.on.read(); // percentages begin at the left edge
    });
  }

  /** Shows another symbol or interval, or asks for the same one anew. */
  open(subject: Subject): void {
    const same = subject.symbol === this.subject.symbol && subject.interval === this.subject.interval;
    this.subject = subject;
    this.zone();
    if (!same) {
      this.candles = null;
      this.hovered = null;
      this.oldest = this.begins = false;
      this.early = [];
      for (const o of this.others) this.forget(o);
      this.compose();
    }
    if (subject.price !== undefined) this.decimals(subject.price);
    void this.load(same);
    for (const o of this.others) void this.loadOther(o);
  }

  /** Draws other indicators. */
  choose(chosen: Chosen, sessions: boolean): void {
    this.chosen = chosen;
    this.sessions = sessions;
    this.compose();
    this.reachBack();
  }

  /** Compares with other symbols: all is in percent then. */
  compare(symbols: string[]): void {
    for (const o of this.others) if (!symbols.includes(o.symbol)) this.forget(o);
    this.others = symbols.map((symbol) => this.others.find((o) => o.symbol === symbol) ?? { symbol, candles: null, loading: null, early: [], line: [], drawn: null as unknown as Drawn, from: Infinity });
    this.compose();
    for (const o of this.others) if (!o.candles && !o.loading) void this.loadOther(o);
  }

  /** Takes in what a delta said of a symbol; it is drawn with the next frame. */
  update(symbol: string, windows: Window[]): void {
    if (windows.length === 0) return;
    if (symbol === this.subject.symbol) {
      if (this.loading) this.early.push(...windows);
      for (const start of this.candles?.update(windows) ?? []) this.changed.add(start);
    }
    for (const o of this.others) {
      if (o.symbol !== symbol) continue;
      if (o.loading) o.early.push(...windows);
      for (const start of o.candles?.update(windows) ?? []) this.changed.add(start);
    }
  }

  /** Draws what came since the last frame. */
  frame(): void {
    if (this.changed.size === 0) return;
    const starts = [...this.changed].sort((a, b) => a - b);
    this.changed.clear();
    const newest = this.bars.at(-1)?.time ?? -Infinity;
    // Updates of the past make the library lose points of lines that have gaps, and
    // later fail to draw at all. So it is only told of the newest bar and of later ones.
    if (this.bars.length === 0 || starts.some((s) => s < newest)) {
      this.drawAll(true);
      return;
    }
    const had = this.bars.length;
    for (const start of starts) {
      const c = this.candles?.candle(start);
      if (!c) continue;
      const i = this.index.get(start) ?? this.bars.length;
      this.index.set(start, i);
      this.list[i] = c;
      this.bars[i] = barOf(c);
      this.series.update(candleOf(c));
      this.volume?.update(this.volumeOf(c));
    }
    const from = Math.min(starts[0] === newest ? had - 1 : had, this.bars.length - 1);
    this.recompute(from);
    for (const d of this.drawn) {
      // A line that may be broken shows it at the bar before.
      if (d.ends && this.bars.length > had) d.series.setData(this.bars.map((_, i) => this.point(d, i)));
      else for (let i = from; i < this.bars.length; i++) d.series.update(this.point(d, i));
    }
    this.on.read();
  }

  /** The candle that is pointed at, or else the newest. */
  reading(): Reading | null {
    const i = this.hovered === null ? this.list.length - 1 : (this.index.get(this.hovered) ?? this.list.length - 1);
    const candle = this.list[i];
    return candle ? { candle, before: this.list[i - 1] ?? null, index: i } : null;
  }

  /** By how many percent a compared line, or the candles, differ from where they were at the left edge. */
  percentAt(i: number, line?: Line): number | null {
    const from = Math.max(0, Math.ceil(this.chart.timeScale().getVisibleLogicalRange()?.from ?? 0));
    const value = (at: number) => (line ? line[at] : this.bars[at]?.close) ?? null;
    const now = value(i);
    for (let at = from; at <= i; at++) {
      const base = value(at);
      if (base !== null && base !== 0) return now === null ? null : (now / base - 1) * 100;
    }
    return null;
  }

  /** The candles within sight, with the lines' values. */
  visible(): { candle: Candle; values: (number | null)[] }[] {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    const from = Math.max(0, Math.ceil(range?.from ?? 0));
    const to = Math.min(this.list.length - 1, Math.floor(range?.to ?? -1));
    const rows: { candle: Candle; values: (number | null)[] }[] = [];
    for (let i = from; i <= to; i++) rows.push({ candle: this.list[i]!, values: this.drawn.map((d) => d.line[i] ?? null) });
    return rows;
  }

  goLive(): void {
    this.chart.timeScale().scrollToPosition(5, false);
  }

  /** Moves by a number of candles, to the past where it is negative. */
  scroll(by: number): void {
    const t = this.chart.timeScale();
    t.scrollToPosition(t.scrollPosition() + by, false);
  }

  zoom(factor: number): void {
    const t = this.chart.timeScale();
    t.applyOptions({ barSpacing: Math.min(60, Math.max(0.8, t.options().barSpacing * factor)) });
  }

  mark(simulated: boolean): void {
    if (simulated === this.simulated) return;
    this.simulated = simulated;
    this.dress();
  }

  /** A time as the chart writes it. */
  timeText(ms: number): string {
    return this.subject.interval === '1d' ? textIn(ms, 'date', zoneOf(this.subject.exchange)) : zonedText(ms, 'full', this.subject.exchange);
  }

  /** Writes times by another clock, or draws with other colours. */
  restyle(): void {
    const before = this.scale.zone;
    this.zone();
    // The library finds anew where days begin for data that are new to it alone.
    if (before !== this.scale.zone) for (const s of [this.series, this.volume, ...this.drawn.map((d) => d.series)]) s?.setData([]);
    this.compose();
  }

  decimalsNow(): number {
    return decimalsFor(this.subject.symbol, this.list.at(-1)?.close ?? this.subject.price ?? '100');
  }

  private async load(same: boolean): Promise<void> {
    this.loading?.abort();
    this.older?.abort();
    this.older = null;
    const loading = (this.loading = new AbortController());
    this.early = [];
    if (!this.candles) this.on.note({ kind: 'loading' });
    try {
      const answer = await fetchCandles(this.subject.symbol, this.subject.interval, loading.signal);
      if (loading.signal.aborted) return;
      const had = this.candles;
      if (had) had.take(answer);
      else this.candles = new Candles(answer, this.subject.interval);
      this.candles!.update(this.early);
      if (!had && answer.more === false) this.oldest = this.begins = true;
      this.drawAll(same && had !== null);
      const last = this.list.at(-1);
      if (last) this.decimals(last.close);
      if (answer.problem) this.on.note({ kind: 'warning', text: answer.problem });
      else if (!last) this.on.note({ kind: 'empty', text: `No candles of ${this.subject.symbol} yet. The first trade draws one.` });
      else this.on.note({ kind: 'none' });
      if (this.loading === loading) this.loading = null;
      this.reachBack();
    } catch (e) {
      if (loading.signal.aborted) return;
      if (e instanceof CandlesError && e.unknown) this.on.note({ kind: 'unknown', text: e.message });
      else this.on.note({ kind: this.candles ? 'warning' : 'error', text: e instanceof CandlesError ? e.message : 'The dashboard does not answer.' });
    } finally {
      if (this.loading === loading) this.loading = null;
    }
  }

  private async loadOlder(): Promise<void> {
    const candles = this.candles;
    const first = this.list[0];
    if (!candles || !first || this.older || this.oldest || this.loading) return;
    const older = (this.older = new AbortController());
    try {
      const answer = await fetchCandles(this.subject.symbol, this.subject.interval, older.signal, first.start);
      if (older.signal.aborted || candles !== this.candles) return;
      const added = candles.prepend(answer.candles);
      if (answer.more === false || (!added && !answer.problem)) this.oldest = this.begins = true;
      if (added || this.begins) this.drawAll(true);
      for (const o of this.others) void this.loadOther(o);
    } catch {
      this.oldest = !older.signal.aborted; // the next opening asks again
    } finally {
      if (this.older === older) this.older = null;
    }
    if (!older.signal.aborted) this.reachBack();
  }

  /** Loads as many older candles as the session of the newest one needs, where a line begins with the session. */
  private reachBack(): void {
    const [first, last] = [this.bars[0], this.bars.at(-1)];
    if (first && last && this.drawn.some((d) => d.key === 'vwap') && this.sessionOf(first.time) === this.sessionOf(last.time)) void this.loadOlder();
  }

  private sessionOf(ms: number): number {
    return dayIn(zoneOf(this.subject.exchange), ms);
  }

  /** Loads a compared symbol as far back as the candles go. */
  private async loadOther(o: Other): Promise<void> {
    o.loading?.abort();
    const loading = (o.loading = new AbortController());
    o.early = [];
    try {
      const { interval } = this.subject;
      const answer = await fetchCandles(o.symbol, interval, loading.signal);
      if (loading.signal.aborted) return;
      if (o.candles) o.candles.take(answer);
      else o.candles = new Candles(answer, interval);
      o.candles.update(o.early);
      this.drawAll(true); // what is known already, before older pages come
      let first = o.candles.all()[0]?.start ?? -Infinity;
      const wanted = this.bars[0]?.time ?? Infinity;
      let pages = 0;
      for (; first > wanted && pages < 20; pages++) {
        const page = await fetchCandles(o.symbol, interval, loading.signal, first);
        if (loading.signal.aborted) return;
        if (!o.candles.prepend(page.candles)) break;
        first = page.candles[0]!.start;
        if (page.more === false) break;
      }
      if (pages > 0) this.drawAll(true);
    } catch {
      // Its line is absent, which the legend shows; the next opening asks again.
    } finally {
      if (o.loading === loading) o.loading = null;
    }
  }

  private forget(o: Other): void {
    o.loading?.abort();
    o.loading = null;
    o.candles = null;
    o.line.length = 0;
  }

  /** Makes the series for what is chosen, in their panes. */
  private compose(): void {
    for (const d of this.drawn) this.chart.removeSeries(d.series);
    if (this.volume) this.chart.removeSeries(this.volume);
    this.volume = null;
    this.drawn = [];
    this.indicators = [];
    const colours = [1, 2, 3, 4, 5, 6].map((n) => token(`--series-${n}`));
    let used = 0;
    const next = () => colours[used++ % colours.length]!;
    // Lines that share a colour differ in how they are drawn.
    const again = () => (used > colours.length ? { lineStyle: LineStyle.LargeDashed } : {});
    let pane = 1;
    if (this.chosen.volume) {
      this.volume = this.chart.addSeries(HistogramSeries, {
        priceFormat: { type: 'custom', formatter: (v: number) => compact(String(Math.round(v))), minMove: 1 }, priceLineVisible: false, lastValueVisible: false,
      }, pane++);
      this.volume.priceScale().applyOptions({ scaleMargins: { top: 0.12, bottom: 0 } });
    }
    const line = (key: string, label: string, colour: string, values: Line, where = 0, options: object = {}): Drawn => ({
      key, label, colour, line: values,
      dashed: used > colours.length,
      series: this.chart.addSeries(LineSeries, { color: colour, lineWidth: 1, priceLineVisible: false, lastValueVisible: false, crosshairMarkerRadius: 3, ...again(), ...options }, where),
    });
    const add = (indicator: Indicator, ...drawn: Drawn[]) => {
      this.indicators.push({ indicator, drawn });
      this.drawn.push(...drawn);
    };
    if (this.chosen.vwap && this.subject.interval !== '1d') {
      const vwap = new Vwap((ms) => this.sessionOf(ms), () => this.begins);
      add(vwap, { ...line('vwap', 'VWAP', next(), vwap.lines[0], 0, { lineWidth: 2 }), ends: (i) => vwap.endsAt(this.bars, i) });
    }
    for (const n of this.chosen.sma) {
      const sma = new Sma(n);
      add(sma, line('sma', `SMA ${n}`, next(), sma.lines[0]));
    }
    for (const n of this.chosen.ema) {
      const ema = new Ema(n);
      add(ema, line('ema', `EMA ${n}`, next(), ema.lines[0]));
    }
    if (this.chosen.bollinger) {
      const { n, k } = this.chosen.bollinger;
      const bands = new Bollinger(n, k);
      const colour = next();
      const edge = { lineStyle: LineStyle.Solid };
      add(bands, line('bb', `BB ${n}, ${k}`, colour, bands.lines[0], 0, { lineStyle: LineStyle.Dashed }), line('bb', `BB ${n}, ${k} upper`, colour, bands.lines[1], 0, edge), line('bb', `BB ${n}, ${k} lower`, colour, bands.lines[2], 0, edge));
    }
    if (this.chosen.rsi !== null) {
      const rsi = new Rsi(this.chosen.rsi);
      const drawn = line('rsi', `RSI ${this.chosen.rsi}`, next(), rsi.lines[0], pane++, {
        lastValueVisible: true,
        priceFormat: { type: 'custom', formatter: (v: number) => v.toFixed(1), minMove: 0.1 },
        autoscaleInfoProvider: () => ({ priceRange: { minValue: 10, maxValue: 90 } }),
      });
      drawn.series.priceScale().applyOptions({ scaleMargins: { top: 0.08, bottom: 0.08 } });
      for (const level of [30, 70]) drawn.series.createPriceLine({ price: level, color: token('--ink-3'), lineWidth: 1, lineStyle: LineStyle.Dashed, axisLabelVisible: false });
      add(rsi, drawn);
    }
    for (const o of this.others) {
      o.drawn = line('compare', o.symbol, next(), o.line, 0, { lineWidth: 2, lastValueVisible: true });
      this.drawn.push(o.drawn);
    }
    this.chart.priceScale('right', 0).applyOptions({ mode: this.others.length > 0 ? PriceScaleMode.Percentage : PriceScaleMode.Normal });
    this.chart.panes().forEach((p, i) => {
      p.setStretchFactor(i === 0 ? 6 : 1.3);
      // The library gives the mode of the first pane to all: volume and RSI are no percentages.
      if (i > 0) this.chart.priceScale('right', i).applyOptions({ mode: PriceScaleMode.Normal });
    });
    this.dress();
    this.drawAll(true);
  }

  private decimals(price: string): void {
    const decimals = decimalsFor(this.subject.symbol, price);
    const options = { priceFormat: { type: 'custom' as const, minMove: 10 ** -decimals, formatter: (v: number) => format(v.toFixed(8), decimals) } };
    this.series.applyOptions(options);
    for (const d of this.drawn) if (d.key !== 'rsi' && d.key !== 'compare') d.series.applyOptions(options);
  }

  /** Draws all candles, from the same place looked at where stay is true. */
  private drawAll(stay: boolean): void {
    const was = this.bars.length;
    this.changed.clear();
    this.list = this.candles?.all() ?? [];
    this.bars = this.list.map(barOf);
    this.index.clear();
    this.bars.forEach((b, i) => this.index.set(b.time, i));
    this.shading.bars = this.bars;
    this.series.setData(this.list.map(candleOf));
    this.volume?.setData(this.list.map((c) => this.volumeOf(c)));
    this.recompute(0);
    for (const d of this.drawn) d.series.setData(this.bars.map((_, i) => this.point(d, i)));
    // The library keeps the distance to the newest candle by itself.
    if (!stay || was === 0) this.fitted = false;
    this.fit();
    this.on.read();
  }

  /** Shows the newest candles, as many as are seen well; waits until the chart has a size. */
  private fit(): void {
    const width = this.chart.timeScale().width();
    if (this.fitted || this.bars.length === 0 || width === 0) return;
    this.fitted = true;
    // A market that has just begun has few; they are drawn wide rather than lost at the edge.
    const shown = Math.min(usualCandles, Math.floor(width / 6), Math.max(this.bars.length, fewestCandles));
    this.chart.timeScale().setVisibleLogicalRange({ from: this.bars.length - shown, to: this.bars.length + 4 });
  }

  private point(d: Drawn, i: number): LineData<Time> | WhitespaceData<Time> {
    const time = at(this.bars[i]!.time);
    const value = d.line[i] ?? null;
    if (value === null) return { time };
    // The library draws a stretch in the colour of the point that it comes from.
    return d.ends?.(i) ? { time, value, color: 'transparent' } : { time, value };
  }

  private recompute(from: number): void {
    for (const { indicator } of this.indicators) indicator.update(this.bars, Math.max(from, 0));
    for (const o of this.others) this.align(o, Math.max(from, 0));
  }

  /** A compared symbol's closes at the times of the candles: the last that was known then. */
  private align(o: Other, from: number): void {
    const first = from === 0 ? o.candles?.all() : undefined;
    o.line.length = Math.min(from, this.bars.length);
    let j = 0;
    let last: number | null = o.line.at(-1) ?? null;
    for (let i = o.line.length; i < this.bars.length; i++) {
      const { time } = this.bars[i]!;
      if (first) {
        for (; j < first.length && first[j]!.start <= time; j++) last = toNumber(first[j]!.close);
      } else {
        const c = o.candles?.candle(time);
        if (c) last = toNumber(c.close);
      }
      o.line.push(last);
    }
  }

  private volumeOf(c: Candle): HistogramData<Time> {
    return { time: at(c.start), value: toNumber(c.volume), color: toNumber(c.close) >= toNumber(c.open) ? this.palette.up : this.palette.down };
  }

  private zone(): void {
    const daily = this.subject.interval === '1d';
    const zone = daily ? zoneOf(this.subject.exchange) : zoneFor(this.subject.exchange);
    this.scale.zone = zone;
    this.shading.day = daily ? null : (ms) => dayIn(zone, ms);
    this.chart.timeScale().applyOptions({ timeVisible: !daily });
  }

  private tickMark(ms: number, kind: TickMarkType): string {
    const shape: Shape = kind === TickMarkType.Year ? 'year' : kind === TickMarkType.Month ? 'month' : kind === TickMarkType.DayOfMonth ? 'day' : 'minute';
    return this.subject.interval === '1d' ? textIn(ms, shape, zoneOf(this.subject.exchange)) : zonedText(ms, shape, this.subject.exchange);
  }

  private dress(): void {
    const up = token('--up');
    const down = token('--down');
    const line = token('--rule');
    this.palette = { up: token('--up-volume'), down: token('--down-volume') };
    const label = { color: token('--ink-3'), labelBackgroundColor: token('--label') };
    this.chart.applyOptions({
      layout: { textColor: token('--ink-2'), panes: { separatorColor: line, separatorHoverColor: token('--raised-2'), enableResize: true } },
      grid: { vertLines: { color: token('--grid') }, horzLines: { color: token('--grid') } },
      crosshair: { vertLine: label, horzLine: label },
    });
    this.series.applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down });
    this.shading.colours = { pre: token('--session-pre'), post: token('--session-post'), day: line };
    const { exchange, interval } = this.subject;
    this.shading.session = this.sessions && interval !== '1d' ? (ms) => sessionAt(exchange, ms) : null;
    this.shading.changed();
    this.watermark.applyOptions({
      lines: this.simulated ? [{ text: 'SIMULATED', color: token('--watermark'), fontSize: this.container.clientWidth < 600 ? 34 : 60, fontFamily: "'IBM Plex Sans', sans-serif", fontStyle: '600' }] : [],
    });
  }
}

function at(ms: number): UTCTimestamp {
  return (ms / 1000) as UTCTimestamp;
}

function candleOf(c: Candle): CandlestickData<Time> {
  return { time: at(c.start), open: toNumber(c.open), high: toNumber(c.high), low: toNumber(c.low), close: toNumber(c.close) };
}

function barOf(c: Candle): Bar {
  return {
    time: c.start, open: toNumber(c.open), high: toNumber(c.high), low: toNumber(c.low), close: toNumber(c.close), volume: toNumber(c.volume),
    turnover: c.turnover === undefined ? undefined : toNumber(c.turnover),
  };
}
