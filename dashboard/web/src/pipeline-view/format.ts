// How figures of the pipeline are written. What is unknown is a dash, never a nought.

export const unknown = '–';

/** A delay: 0.4 ms, 12 ms, 1.24 s, 3 min 20 s. */
export function delay(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return unknown;
  if (ms < 0.05) return '0 ms';
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 9.995) return `${s.toFixed(2)} s`;
  if (s < 59.95) return `${s.toFixed(1)} s`;
  const whole = Math.round(s);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(s / 60);
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.round(s / 86_400)} days`;
}

/** A count in full, thousands grouped. */
export function count(n: number | null | undefined): string {
  return n === null || n === undefined || !Number.isFinite(n) ? unknown : Math.round(n).toLocaleString('en');
}

/** A rate per second: 0.4, 12.3, 4,310, 460K. */
export function rate(n: number | null | undefined): string {
  if (n === null || n === undefined || !Number.isFinite(n)) return unknown;
  if (n === 0) return '0';
  if (n < 99.95) return n.toFixed(1);
  if (n < 99_999.5) return Math.round(n).toLocaleString('en');
  return n < 999_500 ? `${Math.round(n / 1000)}K` : `${(n / 1e6).toFixed(2)}M`;
}

/** Bytes with a binary unit: 812 B, 1.5 KiB, 230 MiB. */
export function bytes(n: number | null | undefined): string {
  if (n === null || n === undefined || !Number.isFinite(n)) return unknown;
  if (n < 1024) return `${Math.round(n)} B`;
  for (const unit of ['KiB', 'MiB', 'GiB', 'TiB']) {
    n /= 1024;
    if (n < 1023.5 || unit === 'TiB') return `${n < 9.95 ? n.toFixed(1) : Math.round(n)} ${unit}`;
  }
  return unknown;
}
