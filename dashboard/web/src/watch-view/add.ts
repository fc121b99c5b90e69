import type { App } from '../app';
import { element, setText } from '../dom';
import { askForToken } from '../login';
import { popup } from '../popup';
import type { Outcome } from '../watch-store';

/** Adds symbols to the watch list and takes them off it. */
export class AddSymbol {
  readonly button = element('button', 'add', 'Add');
  /** What was just done, with the way back. */
  readonly note = element('div', 'list-note');
  private timer = 0;

  constructor(
    private readonly app: App,
    private readonly added: (symbol: string) => void,
  ) {
    this.button.type = 'button';
    this.button.title = 'Add a symbol (+)';
    this.note.setAttribute('role', 'status');
    this.note.hidden = true;
    const form = element('form', 'add-form');
    form.setAttribute('aria-label', 'Add a symbol');
    const label = element('label', 'field', 'Symbol');
    const input = element('input');
    input.type = 'text';
    input.required = true;
    input.maxLength = 64;
    input.placeholder = 'MSFT, SAP.DE, BTC-USD, ^GSPC';
    input.autocomplete = 'off';
    input.autocapitalize = 'characters';
    input.spellcheck = false;
    label.append(input);
    const hint = element('p', 'hint', 'As Yahoo Finance writes it. It is in the list at once and has data from its first trade.');
    const problem = element('p', 'problem');
    problem.setAttribute('role', 'alert');
    const submit = element('button', 'primary', 'Add');
    form.append(label, hint, problem, submit);
    this.button.after(form);
    document.body.append(form);
    popup(this.button, form, () => {
      input.value = '';
      setText(problem, '');
    });
    form.addEventListener('submit', (e) => {
      e.preventDefault();
      const symbol = input.value.trim().toUpperCase();
      if (!symbol) return;
      submit.disabled = true;
      void this.change(() => this.app.watch.add(symbol)).then((outcome) => {
        submit.disabled = false;
        if (outcome.kind === 'failed') setText(problem, outcome.reason);
        if (outcome.kind !== 'done') return;
        form.hidePopover();
        this.say(`Added ${symbol}`, null);
        this.added(symbol);
      });
    });
  }

  async remove(symbol: string): Promise<void> {
    const outcome = await this.change(() => this.app.watch.remove(symbol));
    if (outcome.kind === 'done') this.say(`Removed ${symbol}`, () => void this.change(() => this.app.watch.add(symbol)));
    else if (outcome.kind === 'failed') this.say(`${symbol} is still in the list. ${outcome.reason}`, null);
  }

  /** Does it, and does it again once the token that it needs has been given. */
  private async change(f: () => Promise<Outcome>): Promise<Outcome> {
    const outcome = await f();
    return outcome.kind === 'token' && (await askForToken(this.app)) ? f() : outcome;
  }

  private say(text: string, undo: (() => void) | null): void {
    clearTimeout(this.timer);
    this.note.replaceChildren(element('span', '', text));
    if (undo) {
      const back = element('button', 'quiet', 'Undo');
      back.type = 'button';
      back.addEventListener('click', () => {
        this.note.hidden = true;
        undo();
      });
      this.note.append(back);
    }
    this.note.hidden = false;
    this.timer = window.setTimeout(() => {
      this.note.hidden = true;
    }, 8_000);
  }
}
