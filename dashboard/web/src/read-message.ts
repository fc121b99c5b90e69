import type { Message } from './wire';

const isObject = (v: unknown): v is Record<string, unknown> => typeof v === 'object' && v !== null && !Array.isArray(v);
const isNumber = (v: unknown): v is number => typeof v === 'number' && Number.isFinite(v);
const isDecimal = (v: unknown): boolean => typeof v === 'string' && /^-?\d+(\.\d+)?$/.test(v);
const optional = (v: unknown, is: (v: unknown) => boolean): boolean => v === undefined || is(v);

/**
 * Reads a message of the service. What is not one, or not whole, is null: it is
 * passed over, and where it was a delta the gap before the next is noticed.
 */
export function readMessage(text: string): Message | null {
  let m: unknown;
  try {
    m = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isObject(m)) return null;
  switch (m['type']) {
    case 'snapshot':
      return typeof m['epoch'] === 'string' && isNumber(m['seq']) && areQuotes(m['quotes']) ? (m as unknown as Message) : null;
    case 'delta':
      return typeof m['epoch'] === 'string' && isNumber(m['seq']) && isNumber(m['from']) && areQuotes(m['quotes']) && optional(m['removed'], areTexts) ? (m as unknown as Message) : null;
    case 'pulse':
      return ['now', 'ticks_per_second', 'last_update', 'symbols', 'simulated_symbols', 'behind'].every((name) => isNumber(m[name])) && optional(m['latency'], isLatency) ? (m as unknown as Message) : null;
    case 'pipeline':
      return isNumber(m['now']) && ['functions', 'parts'].every((name) => optional(m[name], areObjects)) && ['ticks', 'seal', 'dead_letters'].every((name) => optional(m[name], isObject)) && optional(m['latency'], areStages) ? (m as unknown as Message) : null;
    default:
      return null; // of a newer service
  }
}

const areTexts = (v: unknown): boolean => Array.isArray(v) && v.every((t) => typeof t === 'string');
const areNumbers = (v: unknown): boolean => Array.isArray(v) && v.every(isNumber);
const areObjects = (v: unknown): boolean => Array.isArray(v) && v.every(isObject);
const isLatency = (v: unknown): boolean => isObject(v) && isNumber(v['p50']) && isNumber(v['p99']);
const areStages = (v: unknown): boolean => isObject(v) && areNumbers(v['bounds']) && areObjects(v['stages']) && (v['stages'] as Record<string, unknown>[]).every((s) => areNumbers(s['counts']) && isNumber(s['count']));

function areQuotes(v: unknown): boolean {
  return Array.isArray(v) && v.every(isQuote);
}

function isQuote(q: unknown): boolean {
  return isObject(q) && typeof q['symbol'] === 'string' && isDecimal(q['price']) && isNumber(q['time']) && isNumber(q['received'])
    && ['change', 'percent', 'volume', 'day_high', 'day_low', 'turnover'].every((name) => optional(q[name], isDecimal))
    && optional(q['info'], isInfo) && optional(q['spark'], isSpark) && Array.isArray(q['windows']) && q['windows'].every(isWindow);
}

function isInfo(v: unknown): boolean {
  return isObject(v) && ['currency', 'exchange', 'market_state', 'source'].every((name) => typeof v[name] === 'string') && optional(v['previous_close'], isDecimal) && optional(v['name'], (n) => typeof n === 'string');
}

function isSpark(v: unknown): boolean {
  return Array.isArray(v) && v.every((p) => Array.isArray(p) && isNumber(p[0]) && isDecimal(p[1]));
}

function isWindow(w: unknown): boolean {
  return isObject(w) && isNumber(w['start']) && isNumber(w['rev']) && ['open', 'high', 'low', 'close', 'volume'].every((name) => isDecimal(w[name]));
}
