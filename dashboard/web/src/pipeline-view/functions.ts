import { element, setText } from '../dom';
import { bytes, count, delay, rate, unknown } from './format';
import type { FunctionFigures } from './wire';

const columns = ['Function', 'Lag', 'Lag by partition', 'Ticks/s', 'Calls/s', 'Call p50', 'Call p99', 'Batch', 'Largest', 'Retries', 'Dead'] as const;
const hints: Partial<Record<(typeof columns)[number], string>> = {
  Lag: 'Records that are written and not yet processed',
  Batch: 'Records a batch, the middle one of the last 10 seconds',
  Largest: 'Records in the largest 5 in 100 batches',
};

/** Lag, rates, calls and batches of each function that Kafka triggers, with the lag of each partition. */
export class FunctionTable {
  readonly box = element('section', 'functions card');
  readonly head = element('header', 'card-head');
  private readonly body = element('tbody');
  private readonly note = element('p', 'card-note');
  private readonly rowsBy = new Map<string, { row: HTMLElement; cells: HTMLElement[]; lags: HTMLElement; problem: HTMLElement }>();
  private last: readonly FunctionFigures[] = [];

  constructor() {
    const h = element('h3', '', 'Functions behind Kafka');
    h.id = 'functions-title';
    this.box.setAttribute('aria-labelledby', h.id);
    this.head.append(h);
    const table = element('table');
    table.setAttribute('aria-labelledby', h.id);
    const top = element('tr');
    for (const c of columns) {
      const cell = element('th', '', c);
      cell.scope = 'col';
      if (hints[c]) cell.title = hints[c];
      top.append(cell);
    }
    const thead = element('thead');
    thead.append(top);
    table.append(thead, this.body);
    const frame = element('div', 'functions-frame');
    frame.tabIndex = 0;
    frame.setAttribute('role', 'region');
    frame.setAttribute('aria-labelledby', h.id);
    frame.append(table);
    this.box.append(this.head, frame, this.note);
  }

  show(functions: readonly FunctionFigures[] | undefined): void {
    this.last = functions ?? [];
    const text = !functions ? 'Not known.' : functions.length === 0 ? 'No function has asked for a topic.' : '';
    setText(this.note, text);
    this.note.hidden = text === '';
    const gone = new Set(this.rowsBy.keys());
    for (const f of this.last) {
      gone.delete(f.name);
      this.row(f);
    }
    for (const name of gone) {
      this.rowsBy.get(name)!.row.remove();
      this.rowsBy.delete(name);
    }
  }

  private row(f: FunctionFigures): void {
    let r = this.rowsBy.get(f.name);
    if (!r) {
      const row = element('tr');
      const who = element('th');
      who.scope = 'row';
      const problem = element('span', 'functions-problem');
      who.append(element('b', '', f.name), element('span', 'functions-topic', f.topic), problem);
      const lags = element('div', 'lags');
      const cells = columns.slice(1).map((c) => element('td', c === 'Lag by partition' ? 'lags-cell' : ''));
      cells[1]!.append(lags);
      row.append(who, ...cells);
      this.body.append(row);
      r = { row, cells, lags, problem };
      this.rowsBy.set(f.name, r);
    }
    const stopped = f.stopped ?? [];
    const problem = f.problem ?? (stopped.length > 0 ? `Stopped at partition ${stopped.join(', ')}: an offset is out of range.` : '');
    setText(r.problem, problem);
    r.row.dataset['problem'] = problem === '' ? '' : 'yes';
    const { calls, batches } = f;
    [count(f.lag), null, rate(f.per_second), rate(calls?.per_second), delay(calls?.p50), delay(calls?.p99), count(batches?.p50), count(batches?.p95), count(f.retries), count(f.dead_letters)].forEach((text, i) => {
      if (text !== null) setText(r.cells[i]!, text);
    });
    r.cells[0]!.dataset['weight'] = String(weight(f.lag));
    r.cells[9]!.dataset['weight'] = (f.dead_letters ?? 0) > 0 ? '3' : '0';
    r.cells[6]!.title = batches?.bytes === undefined ? '' : `${bytes(batches.bytes)} a batch`;
    this.lags(r.lags, f, stopped);
  }

  /** A cell a partition, stronger with more lag. */
  private lags(host: HTMLElement, f: FunctionFigures, stopped: readonly number[]): void {
    const partitions = f.partitions ?? [];
    while (host.children.length < partitions.length) {
      const cell = element('span', 'lag');
      cell.append(element('small'), element('b'));
      host.append(cell);
    }
    while (host.children.length > partitions.length) host.lastElementChild!.remove();
    partitions.forEach((p, i) => {
      const cell = host.children[i] as HTMLElement;
      const halted = stopped.includes(p.partition);
      cell.dataset['weight'] = halted ? '4' : String(weight(p.lag));
      setText(cell.firstElementChild!, String(p.partition));
      setText(cell.lastElementChild!, halted ? 'stop' : p.lag === undefined ? unknown : short(p.lag));
      cell.title = `Partition ${p.partition}: ${p.lag === undefined ? 'lag not known' : `lag ${count(p.lag)}`}${p.committed === undefined ? ', nothing committed' : `, committed ${count(p.committed)}`}${p.end === undefined ? '' : `, end ${count(p.end)}`}`;
    });
    host.dataset['empty'] = partitions.length === 0 ? unknown : '';
  }

  lagColumns(): string[] {
    return ['Function', 'Topic', 'Partition', 'Committed', 'End', 'Lag'];
  }

  lagRows(): string[][] {
    return this.last.flatMap((f) => (f.partitions ?? []).map((p) => [f.name, f.topic, String(p.partition), String(p.committed ?? ''), String(p.end ?? ''), String(p.lag ?? '')]));
  }
}

/** How much a lag weighs, 0 to 3: none to speak of, some, a second's worth of a busy log, more. */
function weight(lag: number | undefined): number {
  if (lag === undefined || lag < 100) return 0;
  return lag < 10_000 ? 1 : lag < 1_000_000 ? 2 : 3;
}

function short(n: number): string {
  return n < 1_000 ? String(n) : n < 1e6 ? `${(n / 1e3).toFixed(n < 9_950 ? 1 : 0)}K` : `${(n / 1e6).toFixed(1)}M`;
}
