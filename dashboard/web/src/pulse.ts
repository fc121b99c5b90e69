import { byId, setText } from './dom';
import type { Pulse } from './wire';

const seconds = 60;
const over = 10_000;

/** The pipeline's pulse at the foot of the page. The browser measures its own end of the latency. */
export class PulseView {
  private readonly rates: number[] = [];
  private readonly line = document.querySelector<SVGPolylineElement>('#pulse-graph polyline')!;
  private readonly samples: { at: number; delay: number }[] = [];
  private waiting: number[] = [];
  private offset = 0; // the service's clock less this one, ms
  private caughtUp = false;

  constructor() {
    void this.compareClocks();
    setInterval(() => void this.compareClocks(), 60_000);
  }

  /** The time by the service's clock, against which trades are old or new. */
  serverNow(): number {
    return Date.now() + this.offset;
  }

  show(p: Pulse): void {
    this.caughtUp = p.caught_up;
    this.rates.push(p.ticks_per_second);
    if (this.rates.length > seconds) this.rates.shift();
    const most = Math.max(...this.rates, 1);
    const first = seconds - this.rates.length;
    this.line.setAttribute('points', this.rates.map((r, i) => `${((first + i) * 120) / (seconds - 1)},${(21 - (r / most) * 20).toFixed(1)}`).join(' '));
    setText(byId('pulse-rate'), number(p.ticks_per_second));
    setText(byId('pulse-latency'), p.latency ? delay(p.latency.p50) : '–');
    setText(byId('pulse-latency-99'), p.latency ? `p99 ${delay(p.latency.p99)}` : '');
    setText(byId('pulse-behind'), p.behind.toLocaleString('en'));
    setText(byId('pulse-symbols'), p.symbols.toLocaleString('en'));
    const screen = this.onScreen();
    setText(byId('pulse-screen'), screen === null ? '–' : delay(screen));
  }

  /** A tick that was received at that time by the service's clock has come. */
  arrived(received: number): void {
    if (received > 0 && this.caughtUp) this.waiting.push(received);
    if (this.waiting.length > 1_000) this.waiting.shift();
  }

  /** What has come is on the screen. */
  drawn(): void {
    const now = Date.now();
    for (const received of this.waiting) this.samples.push({ at: now, delay: Math.max(now + this.offset - received, 0) });
    this.waiting = [];
    while (this.samples.length > 2_000 || (this.samples[0] && now - this.samples[0].at > over)) this.samples.shift();
  }

  private onScreen(): number | null {
    const now = Date.now();
    const delays = this.samples.filter((s) => now - s.at <= over).map((s) => s.delay).sort((a, b) => a - b);
    return delays[Math.floor(delays.length / 2)] ?? null;
  }

  private async compareClocks(): Promise<void> {
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

function delay(ms: number): string {
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(ms < 10_000 ? 1 : 0)} s`;
}

function number(n: number): string {
  return n < 10 ? n.toFixed(1) : Math.round(n).toLocaleString('en');
}
