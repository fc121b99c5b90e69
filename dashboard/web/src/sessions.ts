import { offsetAt } from './zone-offset';

// Where pre-market and after hours lie in a day, for the shading behind candles.

// Yahoo's codes of the exchanges whose shares trade before and after the regular session.
const extended = new Set('NMS NGM NCM NAS NIM NYQ NYS ASE PCX BTS BATS IEX'.split(' '));

const at = (hour: number, minute = 0) => hour * 60 + minute;

export type Session = 'pre' | 'regular' | 'post';

/** The session of an exchange's shares in which a time (ms) lies; null outside of all, and where they are not known. */
export function sessionAt(exchange: string, ms: number): Session | null {
  if (!extended.has(exchange)) return null;
  const minute = Math.floor((ms + offsetAt('America/New_York', ms)) / 60_000) % 1440;
  if (minute >= at(4) && minute < at(9, 30)) return 'pre';
  if (minute >= at(9, 30) && minute < at(16)) return 'regular';
  if (minute >= at(16) && minute < at(20)) return 'post';
  return null;
}
