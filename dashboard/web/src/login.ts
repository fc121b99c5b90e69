import type { App } from './app';
import { element, setText } from './dom';

let asking: Promise<boolean> | null = null;

/** Sends a token to the service, which answers with a cookie that scripts can't read. Returns why not, or ''. */
async function login(token: string): Promise<string> {
  try {
    const response = await fetch('api/login', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ token }) });
    if (response.ok) return '';
    if (response.status === 401) return 'That is not the token.';
    return response.status === 429 ? 'Too many tries. Wait a minute.' : `The dashboard answers ${response.status}.`;
  } catch {
    return 'The dashboard does not answer.';
  }
}

/** Uses and removes a token that the address carries after its #, as in /#token=… */
export async function loginFromAddress(): Promise<void> {
  const given = /^#token=(.+)$/.exec(location.hash)?.[1];
  if (given === undefined) return;
  history.replaceState(null, '', location.pathname + location.search);
  try {
    await login(decodeURIComponent(given));
  } catch {
    // Not a token: the stream says that one is needed.
  }
}

/** Asks for the token until it is right or the dialog is left; true where it is right. */
export function askForToken(app: App): Promise<boolean> {
  asking ??= ask().finally(() => {
    asking = null;
  }).then((right) => {
    if (right) app.stream.connect();
    return right;
  });
  return asking;
}

function ask(): Promise<boolean> {
  const dialog = element('dialog', 'token');
  const form = element('form');
  form.method = 'dialog';
  const label = element('label', 'field', 'Token');
  const input = element('input');
  input.type = 'password';
  input.autocomplete = 'current-password';
  input.required = true;
  label.append(input);
  const problem = element('p', 'problem');
  problem.setAttribute('role', 'alert');
  const cancel = element('button', '', 'Not now');
  cancel.type = 'button';
  const enter = element('button', 'primary', 'Enter');
  const actions = element('div', 'actions');
  actions.append(cancel, enter);
  const title = element('h2', '', 'This dashboard wants a token');
  title.id = 'token-title';
  dialog.setAttribute('aria-labelledby', title.id);
  form.append(title, element('p', '', 'It is what DASHBOARD_TOKEN was set to where the dashboard runs.'), label, problem, actions);
  dialog.append(form);
  document.body.append(dialog);
  return new Promise((resolve) => {
    let right = false;
    cancel.addEventListener('click', () => dialog.close());
    form.addEventListener('submit', (e) => {
      e.preventDefault();
      enter.disabled = true;
      void login(input.value).then((why) => {
        enter.disabled = false;
        setText(problem, why);
        right = why === '';
        if (right) dialog.close();
        else input.select();
      });
    });
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(right);
    });
    dialog.showModal();
  });
}
