import type { App } from '../app';
import { element } from '../dom';
import { saveCSV, type TableSource } from '../table';

/** Rows beyond this are in the CSV only. */
const most = 1_000;

/** Gives every chart a button for the table behind it. */
export function tables(app: App): void {
  const dialog = element('dialog', 'table-dialog');
  dialog.id = 'table';
  const title = element('h2');
  title.id = 'table-title';
  dialog.setAttribute('aria-labelledby', title.id);
  const frame = element('div', 'table-frame');
  frame.tabIndex = 0;
  frame.setAttribute('role', 'region');
  frame.setAttribute('aria-labelledby', title.id);
  const note = element('p', 'table-note');
  const actions = element('div', 'actions');
  const button = (text: string, press: () => void) => {
    const b = element('button', '', text);
    b.type = 'button';
    b.addEventListener('click', press);
    actions.append(b);
    return b;
  };
  let source: TableSource | null = null;
  button('Save as CSV', () => source && saveCSV(source));
  button('Refresh', () => source && fill(source));
  button('Close', () => dialog.close()).classList.add('primary');
  dialog.append(title, frame, note, actions);
  dialog.addEventListener('close', () => {
    source = null;
    frame.replaceChildren();
  });
  document.body.append(dialog);

  const fill = (s: TableSource) => {
    const rows = s.rows();
    const table = element('table');
    table.append(element('caption', 'hidden', s.title()));
    const head = element('tr');
    for (const c of s.columns()) {
      const cell = element('th', '', c);
      cell.scope = 'col';
      head.append(cell);
    }
    const top = element('thead');
    top.append(head);
    const body = element('tbody');
    for (const r of rows.slice(0, most)) {
      const row = element('tr');
      r.forEach((text, i) => {
        const cell = element(i === 0 ? 'th' : 'td', /^-?[\d.,]+$/.test(text) ? 'number' : '', text);
        if (cell instanceof HTMLTableCellElement && i === 0) cell.scope = 'row';
        row.append(cell);
      });
      body.append(row);
    }
    table.append(top, body);
    frame.replaceChildren(table);
    title.textContent = s.title();
    note.textContent = rows.length === 0 ? 'There is nothing to show.' : rows.length > most ? `The first ${most.toLocaleString('en')} of ${rows.length.toLocaleString('en')} rows; the CSV has all.` : `${rows.length.toLocaleString('en')} rows, as of ${new Date().toISOString().slice(11, 19)} UTC.`;
  };

  app.onTable((host, s) => {
    const b = element('button', 'quiet table-button', 'Table');
    b.type = 'button';
    b.setAttribute('aria-haspopup', 'dialog');
    const name = () => { b.ariaLabel = `Table: ${s.title()}`; };
    name();
    b.addEventListener('focus', name);
    b.addEventListener('click', () => {
      source = s;
      fill(s);
      dialog.showModal();
      frame.scrollTop = 0;
    });
    host.append(b);
  });
}
