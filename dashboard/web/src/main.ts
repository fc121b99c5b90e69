import './style/tokens.css';
import './style/base.css';
import './style/shell.css';

import { start as accessibility } from './a11y';
import { App } from './app';
import { askForToken, loginFromAddress } from './login';
import { Shell } from './shell';
import { Stream } from './stream';

await loginFromAddress();

const app = new App();
app.stream = new Stream({
  message: (m) => app.receive(m),
  state: (s) => app.link.set(s),
  place: () => app.market.place(),
});
new Shell(app);
accessibility(app);

const ask = () => {
  void app.watch.load();
  void app.exchanges.load();
};
let list: number | undefined;
app.pulse.follow((p) => {
  if (!p || p.watchlist_rev === list) return;
  if (list !== undefined) void app.watch.load();
  list = p.watchlist_rev;
});
app.link.follow((s) => {
  if (s.kind === 'open') ask();
  if (s.kind === 'token') void askForToken(app);
});
app.stream.connect();
app.clock.start();
// Exchanges open and close; and a list that could not be read may be there again.
setInterval(() => document.visibilityState === 'visible' && app.link.get().kind === 'open' && ask(), 20_000);
setInterval(() => app.second(), 1_000);
