import { ServiceClock, type Offset } from './service-clock';

const over = 10_000;
const compareEvery = 15_000;
/** A clock that is this far from where it should be was set, or the machine slept. */
const jump = 100;

/** The service's clock as this browser knows it, and the browser's own end of the latency. */
export class BrowserClock {
  private readonly service = new ServiceClock();
  private readonly samples: { at: number; delay: number }[] = [];
  private readonly followers = new Set<(delay: number, page: number) => void>();
  private readonly after = new MessageChannel();
  private waiting: { received: number; came: number }[] = [];
  private painting: { received: number; came: number }[] = [];
  private best: Offset | null = null;
  private ahead = Date.now() - performance.now();

  constructor() {
    this.after.port1.onmessage = () => this.painted();
    document.addEventListener('visibilitychange', () => {
      // What came unseen waits for no frame, and says nothing of the page's speed.
      this.waiting = [];
      if (document.visibilityState === 'visible') void this.compare(3);
    });
  }

  /** Compares the clocks at once and then at times. */
  start(): void {
    void this.compare(5);
    setInterval(() => document.visibilityState === 'visible' && void this.compare(1), compareEvery);
  }

  /** The time by the service's clock, ms, against which trades are old or new. */
  serverNow(): number {
    return Date.now() + this.offset();
  }

  /** How far serverNow may be from the truth, ms; null where the clocks could not be compared. */
  within(): number | null {
    return this.best?.within ?? null;
  }

  /** Calls f for each tick that has been painted, with the delays in ms from its reception by the pipeline to the screen, and from this page's reception. */
  onDelay(f: (delay: number, page: number) => void): () => void {
    this.followers.add(f);
    return () => this.followers.delete(f);
  }

  /** A tick that was received at that time by the service's clock has come. */
  arrived(received: number): void {
    if (received > 0 && document.visibilityState === 'visible') this.waiting.push({ received, came: performance.now() });
    if (this.waiting.length > 1_000) this.waiting.shift();
  }

  /** What has come is drawn, and on the screen after this frame. */
  drawn(): void {
    if (this.waiting.length === 0) return;
    this.painting.push(...this.waiting);
    this.waiting = [];
    this.after.port2.postMessage(null);
  }

  /** The middle of the delays of the last seconds, ms; null where nothing was drawn. */
  median(): number | null {
    const now = Date.now();
    const delays = this.samples.filter((s) => now - s.at <= over).map((s) => s.delay).sort((a, b) => a - b);
    return delays[Math.floor(delays.length / 2)] ?? null;
  }

  private painted(): void {
    const now = Date.now();
    const local = performance.now();
    for (const { received, came } of this.painting) {
      const delay = Math.max(now + this.offset() - received, 0);
      this.samples.push({ at: now, delay });
      for (const f of this.followers) f(delay, local - came);
    }
    this.painting = [];
    const first = this.samples.findIndex((s) => now - s.at <= over);
    this.samples.splice(0, Math.max(first, this.samples.length - 2_000));
  }

  private offset(): number {
    // A difference within the way there and back is none that can be told.
    return !this.best || Math.abs(this.best.offset) <= this.best.within + 2 ? 0 : this.best.offset;
  }

  private async compare(times: number): Promise<void> {
    const ahead = Date.now() - performance.now();
    if (Math.abs(ahead - this.ahead) > jump) this.service.forget();
    this.ahead = ahead;
    for (let i = 0; i < times; i++) {
      try {
        const sent = Date.now();
        const response = await fetch('api/status', { cache: 'no-store' });
        const answered = Date.now();
        const { now } = (await response.json()) as { now: number };
        this.service.add({ sent, answered, service: now });
      } catch {
        break; // the clocks are compared again soon
      }
    }
    this.best = this.service.estimate(Date.now()) ?? this.best;
  }
}
