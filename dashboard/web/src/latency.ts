const over = 10_000;

/** The service's clock as this browser knows it, and the browser's own end of the latency. */
export class BrowserClock {
  private readonly samples: { at: number; delay: number }[] = [];
  private readonly followers = new Set<(delay: number) => void>();
  private waiting: number[] = [];
  private offset = 0; // the service's clock less this one, ms

  /** Compares the clocks at once and every minute. */
  start(): void {
    void this.compare();
    setInterval(() => void this.compare(), 60_000);
  }

  /** The time by the service's clock, ms, against which trades are old or new. */
  serverNow(): number {
    return Date.now() + this.offset;
  }

  /** Calls f with the delay of each tick that has been drawn, ms from its reception by the pipeline to the screen. */
  onDelay(f: (delay: number) => void): () => void {
    this.followers.add(f);
    return () => this.followers.delete(f);
  }

  /** A tick that was received at that time by the service's clock has come. */
  arrived(received: number): void {
    if (received > 0) this.waiting.push(received);
    if (this.waiting.length > 1_000) this.waiting.shift();
  }

  /** What has come is on the screen. */
  drawn(): void {
    const now = Date.now();
    for (const received of this.waiting) {
      const delay = Math.max(now + this.offset - received, 0);
      this.samples.push({ at: now, delay });
      for (const f of this.followers) f(delay);
    }
    this.waiting = [];
    while (this.samples.length > 2_000 || (this.samples[0] && now - this.samples[0].at > over)) this.samples.shift();
  }

  /** The middle of the delays of the last seconds, ms; null where nothing was drawn. */
  median(): number | null {
    const now = Date.now();
    const delays = this.samples.filter((s) => now - s.at <= over).map((s) => s.delay).sort((a, b) => a - b);
    return delays[Math.floor(delays.length / 2)] ?? null;
  }

  private async compare(): Promise<void> {
    let quickest = Infinity;
    let offset = this.offset;
    for (let i = 0; i < 4; i++) {
      try {
        const before = Date.now();
        const response = await fetch('api/status', { cache: 'no-store' });
        const { now } = (await response.json()) as { now: number };
        const after = Date.now();
        if (after - before >= quickest) continue;
        quickest = after - before;
        // A difference within the way there and back is none that can be told.
        const difference = now - (before + after) / 2;
        offset = Math.abs(difference) <= quickest / 2 + 2 ? 0 : difference;
      } catch {
        return; // the clocks are compared again in a minute
      }
    }
    this.offset = offset;
  }
}
