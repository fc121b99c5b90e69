/** A value that tells those who follow it when it changes. */
export class Signal<T> {
  private readonly followers = new Set<(value: T) => void>();

  constructor(private value: T) {}

  get(): T {
    return this.value;
  }

  set(value: T): void {
    if (Object.is(value, this.value)) return;
    this.value = value;
    for (const f of [...this.followers]) f(value);
  }

  /** Calls f with the value as it is, and again after each change, until the returned function is called. */
  follow(f: (value: T) => void): () => void {
    this.followers.add(f);
    f(this.value);
    return () => this.followers.delete(f);
  }
}
