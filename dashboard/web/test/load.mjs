// Loads the page's modules for tests, through Vite as the page is built.
import { after, before } from 'node:test';
import { createServer } from 'vite';

let vite;
before(async () => {
  vite = await createServer({ configFile: false, server: { middlewareMode: true, hmr: false, watch: null }, appType: 'custom', logLevel: 'error', optimizeDeps: { noDiscovery: true } });
});
after(() => vite.close());

/** A module of src/, by its path without the ending. */
export const load = (name) => vite.ssrLoadModule(`/src/${name}.ts`);
