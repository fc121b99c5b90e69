// Dresses the page before its first paint, so that no chosen theme flashes by as
// another. src/settings.ts keeps what is read here.
(() => {
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem('ticktape') ?? '{}');
  } catch {
    // Storage that is shut or holds rubbish: the page is dressed as the system asks.
  }
  const asked = (query) => matchMedia(query).matches;
  const system = asked('(prefers-contrast: more)') ? 'contrast' : asked('(prefers-color-scheme: light)') ? 'light' : 'dark';
  const root = document.documentElement.dataset;
  root.theme = ['dark', 'light', 'contrast'].includes(kept.theme) ? kept.theme : system;
  root.palette = kept.palette === 'safe' ? 'safe' : 'classic';
  root.density = kept.density === 'compact' ? 'compact' : 'roomy';
})();
