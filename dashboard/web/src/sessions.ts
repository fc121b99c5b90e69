// Where pre-market and after hours lie in a day, for the shading behind candles.

const newYork = 'America/New_York';
// Yahoo's codes of the exchanges whose shares trade before and after the regular session.
const extended = new Set('NMS NGM NCM NAS NIM NYQ NYS ASE PCX BTS BATS IEX'.split(' '));

const at = (hour: number, minute = 0) => hour * 60 + minute;

export type Session = 'pre' | 'regular' | 'post';

/** The session of an exchange's shares in which a time (ms) lies; null outside of all, and where they are not known. */
export function sessionAt(exchange: string, ms: number): Session | null {
  if (!extended.has(exchange)) return null;
  const minute = minuteOfDay(ms);
  if (minute >= at(4) && minute < at(9, 30)) return 'pre';
  if (minute >= at(9, 30) && minute < at(16)) return 'regular';
  if (minute >= at(16) && minute < at(20)) return 'post';
  return null;
}

const clock = new Intl.DateTimeFormat('en-US', { timeZone: newYork, hourCycle: 'h23', hour: 'numeric', minute: 'numeric' });
const quarter = 900_000;
const known = new Map<number, number>(); // by quarter of an hour, which no zone's offset divides

function minuteOfDay(ms: number): number {
  const start = ms - (ms % quarter);
  let minute = known.get(start);
  if (minute === undefined) {
    const part: Record<string, number> = {};
    for (const p of clock.formatToParts(start)) part[p.type] = Number(p.value);
    minute = part['hour']! * 60 + part['minute']!;
    if (known.size > 20_000) known.clear();
    known.set(start, minute);
  }
  return minute + Math.floor((ms - start) / 60_000);
}
