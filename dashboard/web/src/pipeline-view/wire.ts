// What the service says of the pipeline; dashboard/README.md is the contract.
// What is not known is absent.

export interface PipelineMessage {
  type: 'pipeline';
  now: number;
  ticks?: { per_second?: number; total?: number };
  functions?: FunctionFigures[];
  latency?: { seconds: number; bounds: number[]; stages: Stage[] };
  seal?: SealFigures;
  dead_letters?: { total: number; newest?: number; problem?: string };
  parts?: Part[];
}

export interface FunctionFigures {
  name: string;
  topic: string;
  lag?: number;
  per_second?: number;
  problem?: string;
  partitions?: { partition: number; committed?: number; end?: number; lag?: number }[];
  calls?: { per_second: number; p50?: number; p95?: number; p99?: number; total: number; codes?: Record<string, number> };
  batches?: { mean?: number; p50?: number; p95?: number; bytes?: number };
  retries?: number;
  dead_letters?: number;
  stopped?: number[];
}

export interface Stage {
  name: string;
  count: number;
  counts: number[];
  p50?: number;
  p95?: number;
  p99?: number;
  max?: number;
}

export interface SealFigures {
  windows?: number;
  again?: number;
  candles?: number;
  audited?: number;
  differences?: number;
  repeats?: number;
  behind_seconds?: number;
  since?: number;
}

export interface Part {
  name: string;
  kind: 'server' | 'connector' | 'function' | 'service';
  state: 'up' | 'degraded' | 'down' | 'unknown';
  reason?: string;
  since?: number;
}

export interface DeadLetters {
  total: number;
  newest?: number;
  letters?: DeadLetter[];
  problem?: string;
}

export interface DeadLetter {
  position: number;
  time: number;
  function?: string;
  topic?: string;
  partition?: number;
  offset?: number;
  record_time?: number;
  key?: string;
  reason: string;
  value?: string;
  form?: 'tick' | 'text' | 'bytes';
  size?: number;
}
