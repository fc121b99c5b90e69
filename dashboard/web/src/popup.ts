/** Makes panel open below button, and close by a press elsewhere or Escape, which the browser's popovers do. */
export function popup(button: HTMLElement, panel: HTMLElement, opened: () => void = () => {}): void {
  panel.popover = 'auto';
  panel.classList.add('popup');
  button.setAttribute('aria-haspopup', 'dialog');
  button.setAttribute('aria-expanded', 'false');
  button.addEventListener('click', () => panel.togglePopover());
  panel.addEventListener('beforetoggle', (e) => {
    if (e.newState === 'open') opened();
  });
  panel.addEventListener('toggle', (e) => {
    const open = e.newState === 'open';
    button.setAttribute('aria-expanded', String(open));
    if (!open) return;
    place(button, panel);
    panel.querySelector<HTMLElement>('[autofocus], input, button, select')?.focus();
  });
  addEventListener('resize', () => panel.matches(':popover-open') && place(button, panel));
}

function place(button: HTMLElement, panel: HTMLElement): void {
  const at = button.getBoundingClientRect();
  const room = 8;
  const left = Math.max(room, Math.min(at.left, innerWidth - panel.offsetWidth - room));
  const below = at.bottom + 6;
  const top = below + panel.offsetHeight + room > innerHeight ? Math.max(room, innerHeight - panel.offsetHeight - room) : below;
  panel.style.left = `${left}px`;
  panel.style.top = `${top}px`;
}
