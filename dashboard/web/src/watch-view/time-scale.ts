import { defaultHorzScaleBehavior, type IHorzScaleBehavior, type Time } from 'lightweight-charts';
import { offsetAt } from '../zone-offset';

type Points = Parameters<IHorzScaleBehavior<Time>['fillWeightsForPoints']>[0];

// The library's weights of marks on the axis: what a point begins.
const weights = { minute: 20, fiveMinutes: 21, halfHour: 22, hour: 30, threeHours: 31, sixHours: 32, halfDay: 33, day: 50, month: 60, year: 70 } as const;
const within: readonly [number, number][] = [
  [43_200, weights.halfDay], [21_600, weights.sixHours], [10_800, weights.threeHours], [3_600, weights.hour], [1_800, weights.halfHour], [300, weights.fiveMinutes], [60, weights.minute],
];

/** A time scale whose days, months and hours begin when they do in a zone: the library knows UTC alone. */
export class ZonedScale extends defaultHorzScaleBehavior() {
  /** undefined for this device's zone. */
  zone: string | undefined = 'UTC';

  override fillWeightsForPoints(points: Points, start: number): void {
    let before: Date | null = null;
    for (let i = Math.max(start - 1, 0); i < points.length; i++) {
      const point = points[i]!;
      const ms = timeOf(point);
      const here = new Date(ms + offsetAt(this.zone, ms));
      if (i >= start || i === 0) (point as { timeWeight: number }).timeWeight = before ? weight(before, here) : 0;
      before = here;
    }
    const [first, second] = points;
    // The first has nothing before it to differ from: it is taken to follow at the same pace.
    if (start === 0 && first && second) {
      const at = timeOf(first);
      const earlier = at - (timeOf(second) - at);
      (first as { timeWeight: number }).timeWeight = weight(new Date(earlier + offsetAt(this.zone, earlier)), new Date(at + offsetAt(this.zone, at)));
    }
  }
}

/** A point's time, ms: the chart is given times in seconds. */
function timeOf(point: Points[number]): number {
  return (point.originalTime as number) * 1000;
}

function weight(before: Date, here: Date): number {
  if (before.getUTCFullYear() !== here.getUTCFullYear()) return weights.year;
  if (before.getUTCMonth() !== here.getUTCMonth()) return weights.month;
  if (before.getUTCDate() !== here.getUTCDate()) return weights.day;
  const [a, b] = [before.getTime() / 1000, here.getTime() / 1000];
  for (const [seconds, w] of within) if (Math.floor(a / seconds) !== Math.floor(b / seconds)) return w;
  return 0;
}
