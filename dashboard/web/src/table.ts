/**
 * What stands behind a chart or a list, as columns and rows of plain text: it is
 * shown as a table to those who want to read it, and saved as CSV.
 */
export interface TableSource {
  /** What the table is of, such as "Candles of AAPL, 5m". */
  title(): string;
  columns(): string[];
  /** Rows as they are on the screen now. Numbers are plain: 1234.56, -0.5. */
  rows(): string[][];
}

/** A table as CSV of RFC 4180. A cell that a spreadsheet would take for a formula is made text. */
export function csv(source: TableSource): string {
  const cell = (text: string) => {
    const safe = /^[=+@\t\r]/.test(text) || (/^-/.test(text) && !/^-[\d.]+$/.test(text)) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return [source.columns(), ...source.rows()].map((row) => row.map(cell).join(',') + '\r\n').join('');
}

/** Saves a table as a file named after its title and the time. */
export function saveCSV(source: TableSource): void {
  const address = URL.createObjectURL(new Blob([csv(source)], { type: 'text/csv;charset=utf-8' }));
  const link = document.createElement('a');
  const at = new Date().toISOString().slice(0, 19).replace(/[:T]/g, '-');
  link.href = address;
  link.download = `ticktape ${source.title()} ${at}.csv`.replace(/[^\w.=^-]+/g, '-').toLowerCase();
  link.click();
  URL.revokeObjectURL(address);
}
