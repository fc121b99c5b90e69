// What the dashboard's service says (dashboard/hub and dashboard/api in the
// repository). Times are milliseconds since the Unix epoch; prices and volumes
// are decimal text.

export interface Window {
  start: number;
  open: string;
  high: string;
  low: string;
  close: string;
  volume: string;
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
}

export type Message = Snapshot | Delta | Pulse;

export interface Candle {
  start: number;
  open: string;
  high: string;
  low: string;
  close: string;
  volume: string;
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
  /** The newest day of the symbol's exchange, where the interval is 1d. */
  day?: { start: number; end: number };
  problem?: string;
}
