import { element, setText, svgElement } from '../dom';
import { rate } from './format';

const length = 300; // seconds
const high = 60;

/** Lines of rates over the last minutes, as long as the view has looked. */
export class Rates {
  readonly box = element('section', 'rates card');
  readonly head = element('header', 'card-head');
  private readonly picture: SVGSVGElement;
  private readonly most = element('span', 'rates-most');
  private readonly lines: { name: string; line: SVGPathElement; key: HTMLElement; values: (number | undefined)[] }[] = [];
  private readonly times: number[] = [];
  private readonly keys = element('div', 'rates-keys');
  private readonly plot = element('div', 'rates-plot');
  private readonly from = element('span');

  constructor() {
    const h = element('h3', '', 'Ticks per second');
    h.id = 'rates-title';
    this.box.setAttribute('aria-labelledby', h.id);
    this.head.append(h, this.keys);
    this.picture = svgElement('svg', { viewBox: `0 0 ${length} ${high}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
    const axis = element('div', 'rates-axis');
    axis.append(this.from, element('span', '', 'now'));
    this.plot.setAttribute('role', 'img');
    this.plot.append(this.picture, this.most);
    this.box.append(this.head, this.plot, axis);
  }

  /** Adds a second; figures that are not known leave a gap. */
  add(now: number, figures: readonly { name: string; value: number | undefined }[]): void {
    this.times.push(now);
    for (const f of figures) {
      let l = this.lines.find((x) => x.name === f.name);
      if (!l) {
        const n = (this.lines.length % 6) + 1;
        const line = svgElement('path', { class: 'rates-line' });
        line.style.stroke = `var(--series-${n})`;
        const key = element('span', 'rates-key');
        const swatch = element('i');
        swatch.style.background = `var(--series-${n})`;
        const text = element('b');
        key.append(swatch, `${f.name} `, text);
        this.keys.append(key);
        this.picture.append(line);
        l = { name: f.name, line, key: text, values: new Array<undefined>(this.times.length - 1).fill(undefined) };
        this.lines.push(l);
      }
      l.values.push(f.value);
      setText(l.key, rate(f.value));
    }
    for (const l of this.lines) if (l.values.length < this.times.length) l.values.push(undefined);
    while (this.times.length > length) {
      this.times.shift();
      for (const l of this.lines) l.values.shift();
    }
    this.draw();
  }

  private draw(): void {
    const most = nice(Math.max(...this.lines.flatMap((l) => l.values.map((v) => v ?? 0)), 1));
    setText(this.most, rate(most));
    const first = length - this.times.length;
    for (const l of this.lines) {
      let pen = 'M';
      l.line.setAttribute('d', l.values.map((v, i) => {
        if (v === undefined) {
          pen = 'M';
          return '';
        }
        const to = `${pen}${first + i} ${(high - 1 - (v / most) * (high - 3)).toFixed(1)}`;
        pen = 'L';
        return to;
      }).join(''));
    }
    setText(this.from, `−${Math.round(length / 60)} min`);
    this.plot.ariaLabel = `Over the last ${this.times.length} seconds. ${this.lines.map((l) => `${l.name}: ${rate(l.values.at(-1))} a second`).join(', ')}.`;
  }

  /** Columns and rows of what is drawn, newest first. */
  columns(): string[] {
    return ['Time', ...this.lines.map((l) => `${l.name} ticks/s`)];
  }

  rows(): string[][] {
    return this.times.map((t, i) => [new Date(t).toISOString(), ...this.lines.map((l) => (l.values[i] === undefined ? '' : String(l.values[i])))]).reverse();
  }
}

/** The next of 1, 2, 5 times a power of ten. */
function nice(n: number): number {
  const power = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 5, 10].map((f) => f * power).find((x) => x >= n) ?? n;
}
