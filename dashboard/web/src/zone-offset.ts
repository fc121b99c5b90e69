const hour = 3_600_000;
const quarter = 900_000;

const formats = new Map<string, Intl.DateTimeFormat>();
const known = new Map<string, Map<number, number>>();

/** How far a zone's clock is ahead of UTC at a time, ms; undefined is this device's zone. */
export function offsetAt(zone: string | undefined, ms: number): number {
  if (zone === 'UTC') return 0;
  if (zone === undefined) return -new Date(ms).getTimezoneOffset() * 60_000;
  // Clocks change on a quarter of an hour.
  const start = ms - (ms % quarter);
  let offsets = known.get(zone);
  if (!offsets) known.set(zone, (offsets = new Map()));
  let offset = offsets.get(start);
  if (offset === undefined) {
    if (offsets.size > 50_000) offsets.clear();
    offsets.set(start, (offset = ask(zone, start)));
    // Most days have one offset, and asking is dear: where both ends of a day agree all between does.
    const day = start - (start % (24 * hour));
    if (ask(zone, day) === offset && ask(zone, day + 24 * hour - quarter) === offset) {
      for (let t = day; t < day + 24 * hour; t += quarter) offsets.set(t, offset);
    }
  }
  return offset;
}

/** The day of a time by a zone's clock, as a count since 1970. */
export function dayIn(zone: string | undefined, ms: number): number {
  return Math.floor((ms + offsetAt(zone, ms)) / (24 * hour));
}

function ask(zone: string, ms: number): number {
  let f = formats.get(zone);
  if (!f) {
    f = new Intl.DateTimeFormat('en-US', { timeZone: zone, hourCycle: 'h23', year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric' });
    formats.set(zone, f);
  }
  const part: Record<string, number> = {};
  for (const p of f.formatToParts(ms)) part[p.type] = Number(p.value);
  return Date.UTC(part['year']!, part['month']! - 1, part['day'], part['hour'], part['minute']) - ms;
}
