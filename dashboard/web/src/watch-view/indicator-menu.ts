import { element } from '../dom';
import { lengths, type Chosen } from '../indicators';
import { popup } from '../popup';

/** The menu that switches indicators on and sets their lengths. */
export class IndicatorMenu {
  readonly button = element('button', '', 'Indicators');
  private readonly form = element('form', 'indicators');
  private readonly boxes = new Map<string, HTMLInputElement>();
  private readonly fields = new Map<string, HTMLInputElement>();

  constructor(private readonly change: (chosen: Chosen, sessions: boolean) => void) {
    this.button.type = 'button';
    this.button.id = 'indicators-button';
    this.form.id = 'indicators';
    this.form.setAttribute('aria-label', 'Indicators');
    this.row('volume', 'Volume');
    this.row('vwap', 'VWAP', [], 'since the day began; not for 1d');
    this.row('sma', 'Moving averages, simple', [['sma', '20, 50', 'Lengths of the simple averages, in candles']]);
    this.row('ema', 'Moving averages, exponential', [['ema', '21', 'Lengths of the exponential averages, in candles']]);
    this.row('bb', 'Bollinger bands', [['bb-n', '20', 'Length of the bands, in candles'], ['bb-k', '2', 'Width of the bands, in standard deviations']]);
    this.row('rsi', 'RSI', [['rsi', '14', 'Length of the RSI, in candles']]);
    this.row('sessions', 'Pre-market and after hours shaded');
    this.form.addEventListener('submit', (e) => e.preventDefault());
    this.form.addEventListener('change', () => this.tell());
    document.body.append(this.form);
    popup(this.button, this.form);
  }

  show(c: Chosen, sessions: boolean): void {
    const set = (name: string, on: boolean) => {
      this.boxes.get(name)!.checked = on;
    };
    const write = (name: string, text: string) => {
      const field = this.fields.get(name)!;
      if (document.activeElement !== field) field.value = text;
    };
    set('volume', c.volume);
    set('vwap', c.vwap);
    set('sma', c.sma.length > 0);
    set('ema', c.ema.length > 0);
    set('bb', c.bollinger !== null);
    set('rsi', c.rsi !== null);
    set('sessions', sessions);
    if (c.sma.length > 0) write('sma', c.sma.join(', '));
    if (c.ema.length > 0) write('ema', c.ema.join(', '));
    if (c.bollinger) {
      write('bb-n', String(c.bollinger.n));
      write('bb-k', String(c.bollinger.k));
    }
    if (c.rsi !== null) write('rsi', String(c.rsi));
  }

  private tell(): void {
    const on = (name: string) => this.boxes.get(name)!.checked;
    const numbers = (name: string) => (this.fields.get(name)!.value.match(/[\d.]+/g) ?? []).map(Number);
    const length = (name: string, otherwise: number) => lengths(numbers(name))[0] ?? otherwise;
    const k = numbers('bb-k')[0] ?? 2;
    this.change(
      {
        volume: on('volume'),
        vwap: on('vwap'),
        sma: on('sma') ? some(lengths(numbers('sma')), 20) : [],
        ema: on('ema') ? some(lengths(numbers('ema')), 21) : [],
        bollinger: on('bb') ? { n: length('bb-n', 20), k: k > 0 && k <= 10 ? k : 2 } : null,
        rsi: on('rsi') ? length('rsi', 14) : null,
      },
      on('sessions'),
    );
  }

  private row(name: string, title: string, fields: [name: string, value: string, label: string][] = [], hint = ''): void {
    const row = element('div', 'indicator');
    const label = element('label');
    const box = element('input');
    box.type = 'checkbox';
    box.name = name;
    label.append(box, element('span', '', title));
    if (hint) label.append(element('small', '', hint));
    row.append(label);
    for (const [key, value, describes] of fields) {
      const field = element('input');
      field.type = 'text';
      field.inputMode = 'decimal';
      field.name = `${key}-length`;
      field.value = value;
      field.setAttribute('aria-label', describes);
      field.title = describes;
      // Whoever sets a length wants to see it.
      field.addEventListener('input', () => {
        box.checked = true;
      });
      row.append(field);
      this.fields.set(key, field);
    }
    this.boxes.set(name, box);
    this.form.append(row);
  }
}

function some(list: number[], otherwise: number): number[] {
  return list.length > 0 ? list : [otherwise];
}
