// What the service's clock shows, seen from here. A round trip tells the
// difference to within half its length (Cristian, 1989): the quickest of the
// last ones is believed, and its half is the uncertainty that the page shows.

export interface RoundTrip {
  /** This clock when the question left and the answer came, and the service's between, ms since the Unix epoch. */
  sent: number;
  answered: number;
  service: number;
}

export interface Offset {
  /** The service's clock less this one, ms. */
  offset: number;
  /** The offset is at most this far from the truth, ms. */
  within: number;
}

/** How long a round trip is believed, ms: clocks drift, by a few ms a minute at worst. */
const believed = 120_000;
/** A trip as long as this went through a sleep or a stopped tab. */
const longest = 5_000;
const kept = 16;

export class ServiceClock {
  private trips: RoundTrip[] = [];

  add(t: RoundTrip): void {
    if (!(t.answered >= t.sent) || t.answered - t.sent > longest || !Number.isFinite(t.service)) return;
    this.trips.push(t);
    if (this.trips.length > kept) this.trips.shift();
  }

  /** null where no round trip told. */
  estimate(now: number): Offset | null {
    let best: RoundTrip | null = null;
    for (const t of this.trips) {
      if (now - t.answered > believed) continue;
      if (!best || t.answered - t.sent < best.answered - best.sent) best = t;
    }
    if (!best) return null;
    return { offset: best.service - (best.sent + best.answered) / 2, within: (best.answered - best.sent) / 2 };
  }

  /** Forgets all: this clock was set, or slept. */
  forget(): void {
    this.trips = [];
  }
}
