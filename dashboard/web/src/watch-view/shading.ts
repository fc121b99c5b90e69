import type { IChartApiBase, IPrimitivePaneView, ISeriesPrimitiveBase, Time, UTCTimestamp } from 'lightweight-charts';
import type { Bar } from '../indicators';
import type { Session } from '../sessions';

type Target = Parameters<NonNullable<NonNullable<ReturnType<IPrimitivePaneView['renderer']>>['drawBackground']>>[0];

export interface ShadeColours {
  pre: string;
  post: string;
  day: string;
}

/** What lies behind the candles: pre-market and after hours shaded, and a line where a day begins. */
export class Shading implements ISeriesPrimitiveBase<{ chart: IChartApiBase<Time>; requestUpdate(): void }> {
  bars: readonly Bar[] = [];
  colours: ShadeColours = { pre: 'transparent', post: 'transparent', day: 'transparent' };
  /** Set where sessions are to be shown. */
  session: ((ms: number) => Session | null) | null = null;
  /** The day of a time; null where a candle is a day. */
  day: ((ms: number) => number) | null = null;
  private chart: IChartApiBase<Time> | null = null;
  private request: () => void = () => {};

  private readonly view: IPrimitivePaneView = {
    zOrder: () => 'bottom',
    renderer: () => ({ draw: () => {}, drawBackground: (target) => this.draw(target) }),
  };

  attached(p: { chart: IChartApiBase<Time>; requestUpdate(): void }): void {
    this.chart = p.chart;
    this.request = p.requestUpdate;
  }

  detached(): void {
    this.chart = null;
  }

  paneViews(): readonly IPrimitivePaneView[] {
    return [this.view];
  }

  changed(): void {
    this.request();
  }

  private draw(target: Target): void {
    const scale = this.chart?.timeScale();
    const range = scale?.getVisibleLogicalRange();
    if (!scale || !range || this.bars.length === 0) return;
    const first = Math.max(0, Math.floor(range.from));
    const last = Math.min(this.bars.length - 1, Math.ceil(range.to));
    const half = scale.options().barSpacing / 2;
    const x = (i: number) => scale.timeToCoordinate((this.bars[i]!.time / 1000) as UTCTimestamp);
    target.useMediaCoordinateSpace(({ context, mediaSize }) => {
      let session: Session | null = null;
      let from = 0;
      let to = 0;
      const close = () => {
        if (session === null || session === 'regular') return;
        context.fillStyle = session === 'pre' ? this.colours.pre : this.colours.post;
        context.fillRect(from, 0, to - from, mediaSize.height);
      };
      let day: number | null = null;
      for (let i = first; i <= last; i++) {
        const at = x(i);
        if (at === null) continue;
        const ms = this.bars[i]!.time;
        const s = this.session?.(ms) ?? null;
        if (session !== s) {
          close();
          session = s;
          from = at - half;
        }
        to = at + half;
        const d = this.day?.(ms) ?? null;
        if (day !== null && d !== day) {
          context.fillStyle = this.colours.day;
          context.fillRect(Math.round(at - half), 0, 1, mediaSize.height);
        }
        day = d;
      }
      close();
    });
  }
}
