// Exact decimals. Prices travel as decimal text with up to eight places and are
// added, compared and rounded as integers of 1e-8, never as floats.

const places = 8;
const unit = 10n ** BigInt(places);

/** Reads decimal text, such as "-187.44", as an integer of 1e-8. */
export function units(text: string): bigint {
  const negative = text.startsWith('-');
  const [whole = '0', fraction = ''] = (negative ? text.slice(1) : text).split('.');
  const n = BigInt(whole || '0') * unit + BigInt(fraction.slice(0, places).padEnd(places, '0'));
  return negative ? -n : n;
}

/** Writes units as decimal text. */
export function text(n: bigint): string {
  const digits = (n < 0n ? -n : n).toString().padStart(places + 1, '0');
  return (n < 0n ? '-' : '') + `${digits.slice(0, -places)}.${digits.slice(-places)}`.replace(/\.?0+$/, '');
}

/** The nearest float, for drawing only. */
export function toNumber(text: string): number {
  return Number(text);
}

/** Writes decimal text with a fixed number of places, half rounded away from zero, and grouped thousands. */
export function format(text: string, decimals: number): string {
  let n = units(text);
  const negative = n < 0n;
  if (negative) n = -n;
  const step = 10n ** BigInt(places - decimals);
  const rounded = (n + step / 2n) / step;
  const digits = rounded.toString().padStart(decimals + 1, '0');
  const whole = digits.slice(0, digits.length - decimals).replace(/\B(?=(\d{3})+$)/g, ',');
  const sign = negative && rounded !== 0n ? '−' : '';
  return sign + whole + (decimals > 0 ? '.' + digits.slice(-decimals) : '');
}

/** The number of places that a price is usually quoted with. */
export function decimalsFor(symbol: string, price: string): number {
  if (symbol.endsWith('=X')) return symbol.startsWith('JPY') || Math.abs(toNumber(price)) > 20 ? 3 : 5;
  const size = Math.abs(toNumber(price));
  if (size > 0 && size < 0.01) return 8;
  if (size < 1) return 4;
  return 2;
}

/** −1, 0 or 1. */
export function sign(text: string | undefined): -1 | 0 | 1 {
  if (!text || !/[1-9]/.test(text)) return 0;
  return text.startsWith('-') ? -1 : 1;
}

/** A count in at most four characters and a unit: 987, 12.3K, 4.56M. */
export function compact(text: string): string {
  const n = Number(text);
  if (n < 1000) return String(n);
  for (const [size, name] of [[1e12, 'T'], [1e9, 'B'], [1e6, 'M'], [1e3, 'K']] as const) {
    // 999.95 K reads better as 1.00 M than as 1000 K.
    if (n >= size * 0.9995) {
      const v = n / size;
      return (v < 9.995 ? v.toFixed(2) : v < 99.95 ? v.toFixed(1) : v.toFixed(0)) + name;
    }
  }
  return String(n);
}
