// What the dashboard's service says: dashboard/README.md is the contract. Times are milliseconds since the Unix epoch; prices and volumes
// are decimal text.

export interface Window {
  start: number;
  open: string;
  high: string;
  low: string;
  close: string;
  volume: string;
  /** Sum of price × size; absent where it is not known. */
  turnover?: string;
  ticks: number;
  /** Revision of the service at which the window last changed. */
  rev: number;
}

export interface Info {
  previous_close?: string;
  currency: string;
  exchange: string;
  market_state: 'UNKNOWN' | 'PRE' | 'REGULAR' | 'POST' | 'CLOSED';
  source: 'unknown' | 'yahoo' | 'yahoo-stream' | 'simulated';
  name?: string;
  /** Minutes that the source's data of the exchange lag behind. */
  delayed_by?: number;
  /** Where the exchange's day of the latest trade begins. */
  day_start?: number;
}

export interface QuoteUpdate {
  symbol: string;
  price: string;
  change?: string;
  percent?: string;
  /** Of the exchange's day. */
  volume?: string;
  time: number;
  received: number;
  /** Of the trades seen of the exchange's day. */
  day_high?: string;
  day_low?: string;
  turnover?: string;
  info?: Info;
  /** Starts and closes of the newest windows; in snapshots only. */
  spark?: [number, string][];
  windows: Window[];
}

export interface Snapshot {
  type: 'snapshot';
  epoch: string;
  seq: number;
  quotes: QuoteUpdate[];
}

export interface Delta {
  type: 'delta';
  epoch: string;
  from: number;
  seq: number;
  quotes: QuoteUpdate[];
  /** Symbols that are not shown any more. */
  removed?: string[];
}

export interface Pulse {
  type: 'pulse';
  now: number;
  ticks: number;
  live_ticks: number;
  ticks_per_second: number;
  last_update: number;
  symbols: number;
  simulated_symbols: number;
  clients: number;
  connected: boolean;
  caught_up: boolean;
  behind: number;
  problem?: string;
  latency?: { p50: number; p95: number; p99: number; count: number };
  /** Changes when the watch list did. */
  watchlist_rev?: number;
  /** Minutes sealed, and sealed again because of late trades. */
  seal?: { windows: number; again: number; differences: number };
}

/** A message of which the shell knows nothing but its type, such as pipeline. */
export interface OtherMessage {
  type: 'pipeline';
}

export type Message = Snapshot | Delta | Pulse | OtherMessage;

export interface Candle {
  start: number;
  open: string;
  high: string;
  low: string;
  close: string;
  volume: string;
  turnover?: string;
  ticks: number;
  source?: string;
  sealed?: boolean;
}

export interface CandlesAnswer {
  symbol: string;
  interval: string;
  epoch: string;
  seq: number;
  candles: Candle[];
  windows: Window[];
  /** Whether anything older is stored. */
  more?: boolean;
  /** The newest day of the symbol's exchange, where the interval is 1d. */
  day?: { start: number; end: number };
  problem?: string;
}
