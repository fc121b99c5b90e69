import { readMessage } from './read-message';
import type { Message } from './wire';

export type StreamState =
  | { kind: 'connecting' }
  | { kind: 'open'; transport: 'WebSocket' | 'server-sent events' }
  | { kind: 'waiting'; until: number; attempt: number; reason: string }
  /** The service wants a token first. */
  | { kind: 'token' }
  | { kind: 'offline' };

export interface Place {
  epoch: string;
  seq: number;
}

interface Handlers {
  message(m: Message): void;
  state(s: StreamState): void;
  /** Where the page stands, so that a new connection goes on from there. */
  place(): Place | null;
}

// The service sends a pulse every second.
const silence = 6_000;
const firstWait = 500;
const longestWait = 10_000;

/** The connection to the service: it reconnects for ever, by WebSocket, or by server-sent events where WebSockets don't get through. */
export class Stream {
  private close: () => void = () => {};
  private heard = 0;
  private attempt = 0;
  private blocked = 0; // WebSockets in a row that never brought a message
  private timer = 0;
  private current: StreamState = { kind: 'connecting' };
  private send: ((text: string) => void) | null = null;
  private pipeline = false; // whether it is wanted
  private asked = false; // whether this connection was asked for it
  private asking: AbortController | null = null;

  constructor(private readonly on: Handlers) {
    addEventListener('online', () => this.connect());
    addEventListener('offline', () => this.lost());
    document.addEventListener('visibilitychange', () => {
      // After sleep the old connection may look alive for minutes.
      if (document.visibilityState === 'visible' && this.current.kind !== 'token' && this.current.kind !== 'connecting' && Date.now() - this.heard > 3_000) this.connect();
    });
    setInterval(() => {
      if ((this.current.kind === 'open' || this.current.kind === 'connecting') && Date.now() - this.heard > silence) this.lost();
    }, 1_000);
  }

  connect(): void {
    this.drop();
    this.set({ kind: 'connecting' });
    this.heard = Date.now();
    // Every third try in a row without a word is made the other way.
    if (this.blocked >= 2 && this.blocked % 3 === 2) this.events();
    else this.socket();
  }

  /** Asks for a snapshot after a gap. */
  resync(): void {
    if (this.send) this.send(JSON.stringify({ op: 'snapshot' }));
    else this.connect();
  }

  /** Says whether the messages about the pipeline are wanted. */
  followPipeline(wanted: boolean): void {
    if (this.pipeline === wanted) return;
    this.pipeline = wanted;
    if (this.current.kind === 'open') this.askPipeline();
  }

  /** Tells an open connection what it was not asked with. */
  private askPipeline(): void {
    if (this.asked === this.pipeline) return;
    this.asked = this.pipeline;
    if (this.send) this.send(JSON.stringify({ op: 'subscribe', pipeline: this.pipeline }));
    else this.connect();
  }

  private query(): string {
    const q = new URLSearchParams();
    const at = this.on.place();
    if (at) {
      q.set('epoch', at.epoch);
      q.set('since', String(at.seq));
    }
    this.asked = this.pipeline;
    if (this.pipeline) q.set('pipeline', '1');
    return q.size > 0 ? `?${q}` : '';
  }

  private socket(): void {
    const url = new URL('api/ws' + this.query(), location.href);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    url.hash = '';
    const ws = new WebSocket(url);
    let worked = false;
    const end = () => {
      if (!worked) this.blocked++;
      this.lost();
    };
    ws.onmessage = (e) => {
      worked = true;
      this.blocked = 0;
      this.got(String(e.data), 'WebSocket');
    };
    ws.onclose = end;
    this.send = (text) => ws.send(text);
    this.close = () => {
      ws.onmessage = ws.onclose = null;
      ws.close();
    };
  }

  private events(): void {
    const es = new EventSource('api/stream' + this.query());
    es.onmessage = (e) => this.got(String(e.data), 'server-sent events');
    es.onerror = () => {
      this.blocked++;
      this.lost();
    };
    this.close = () => {
      es.onmessage = es.onerror = null;
      es.close();
    };
  }

  private got(text: string, transport: 'WebSocket' | 'server-sent events'): void {
    this.heard = Date.now();
    this.attempt = 0;
    if (this.current.kind !== 'open') {
      this.set({ kind: 'open', transport });
      this.askPipeline();
    }
    const m = readMessage(text);
    if (m) this.on.message(m);
  }

  private lost(): void {
    this.drop();
    if (!navigator.onLine) {
      this.set({ kind: 'offline' });
      return;
    }
    // Jitter, so that a restarted service does not meet all its pages at once.
    const wait = Math.min(firstWait * 2 ** this.attempt, longestWait) * (0.75 + Math.random() / 2);
    this.attempt++;
    this.set({ kind: 'waiting', until: Date.now() + wait, attempt: this.attempt, reason: '' });
    this.timer = window.setTimeout(() => this.connect(), wait);
    void this.askWhy();
  }

  /** A WebSocket that fails tells nothing, so the service is asked over HTTP. */
  private async askWhy(): Promise<void> {
    const asking = (this.asking = new AbortController());
    try {
      const response = await fetch('api/status', { cache: 'no-store', signal: asking.signal });
      const status = response.ok ? ((await response.json()) as { full?: boolean }) : {};
      if (asking.signal.aborted || this.current.kind !== 'waiting') return;
      if (response.status === 401) {
        clearTimeout(this.timer);
        this.set({ kind: 'token' });
      } else if (status.full) {
        this.set({ ...this.current, reason: 'The dashboard has as many viewers as it can serve.' });
      }
    } catch {
      // It is away, which the stream's own attempts find out too.
    }
  }

  private drop(): void {
    clearTimeout(this.timer);
    this.asking?.abort();
    this.close();
    this.close = () => {};
    this.send = null;
  }

  private set(s: StreamState): void {
    this.current = s;
    this.on.state(s);
  }
}
