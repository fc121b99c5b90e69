import { element, setText } from '../dom';
import { clockText } from '../text';
import { bytes, count } from './format';
import type { DeadLetter, DeadLetters } from './wire';

/** Dead letters, each with its reason; opened, with where it came from and what it was. */
export class LetterList {
  readonly box = element('section', 'letters card');
  readonly head = element('header', 'card-head');
  private readonly total = element('span', 'card-about');
  private readonly list = element('div', 'letters-list');
  private readonly note = element('p', 'card-note');
  private readonly shown = new Map<number, HTMLDetailsElement>();
  private letters: DeadLetter[] = [];
  private newest: number | undefined | null = null;
  private asking = false;

  constructor() {
    const h = element('h3', '', 'Dead letters');
    h.id = 'letters-title';
    this.box.setAttribute('aria-labelledby', h.id);
    this.head.append(h, this.total);
    this.box.append(this.head, this.note, this.list);
    this.say(null);
  }

  /** Follows what the pipeline message tells; asks for the letters where there is another one. */
  show(d: { total: number; newest?: number; problem?: string } | undefined): void {
    setText(this.total, d ? `${count(d.total)} in all` : 'not known');
    if (!d) {
      if (this.letters.length === 0) this.say(null);
      return;
    }
    if (d.newest === this.newest && this.newest !== null) return;
    void this.ask(d.newest);
  }

  private async ask(newest: number | undefined): Promise<void> {
    if (this.asking) return;
    this.asking = true;
    try {
      const response = await fetch('api/dead-letters?limit=50', { cache: 'no-store' });
      if (!response.ok) throw new Error(response.statusText);
      const answer = (await response.json()) as DeadLetters;
      this.newest = newest;
      this.letters = answer.letters ?? [];
      this.draw();
      this.say(answer);
    } catch {
      setText(this.note, 'The dead letters could not be read. They are asked for again by themselves.');
      this.note.hidden = false;
    } finally {
      this.asking = false;
    }
  }

  private say(d: DeadLetters | null): void {
    const text = !d ? 'Whether there are any is not known.' : d.problem ?? (d.total === 0 ? 'None. Every record could be processed.' : d.total > this.letters.length ? `The newest ${this.letters.length}.` : '');
    setText(this.note, text);
    this.note.hidden = text === '';
  }

  private draw(): void {
    const gone = new Set(this.shown.keys());
    this.letters.forEach((l, i) => {
      gone.delete(l.position);
      let box = this.shown.get(l.position);
      if (!box) {
        box = this.letter(l);
        this.shown.set(l.position, box);
      }
      if (this.list.children[i] !== box) this.list.insertBefore(box, this.list.children[i] ?? null);
    });
    for (const position of gone) {
      this.shown.get(position)!.remove();
      this.shown.delete(position);
    }
  }

  /** Other people's text: it is only ever set as text. */
  private letter(l: DeadLetter): HTMLDetailsElement {
    const box = element('details', 'letter');
    const line = element('summary');
    const time = element('time', 'letter-time', clockText(l.time));
    time.dateTime = new Date(l.time).toISOString();
    line.append(time, element('b', 'letter-function', l.function ?? ''), element('span', 'letter-reason', l.reason));
    const facts = element('dl');
    const fact = (term: string, value: string | undefined) => {
      if (value) facts.append(element('dt', '', term), element('dd', '', value));
    };
    fact('Reason', l.reason);
    fact('Record', l.topic === undefined ? undefined : `${l.topic}, partition ${l.partition ?? '?'}, offset ${l.offset === undefined ? '?' : count(l.offset)}`);
    fact('Key', l.key);
    fact('Written', l.record_time === undefined ? undefined : `${new Date(l.record_time).toISOString()}`);
    fact('Size', l.size === undefined ? undefined : bytes(l.size));
    box.append(line, facts);
    if (l.value !== undefined) {
      const label = { tick: 'The tick', text: 'As text', bytes: 'In hexadecimal' }[l.form ?? 'text'];
      const value = element('pre', '', l.value);
      value.tabIndex = 0;
      value.setAttribute('role', 'region');
      value.ariaLabel = `Value of the record at offset ${l.offset ?? '?'}`;
      box.append(element('p', 'letter-form', label), value);
    }
    return box;
  }

  columns(): string[] {
    return ['Time', 'Function', 'Topic', 'Partition', 'Offset', 'Key', 'Reason', 'Value'];
  }

  rows(): string[][] {
    return this.letters.map((l) => [new Date(l.time).toISOString(), l.function ?? '', l.topic ?? '', String(l.partition ?? ''), String(l.offset ?? ''), l.key ?? '', l.reason, l.value ?? '']);
  }
}
