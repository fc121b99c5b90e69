import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { brotliCompressSync } from 'node:zlib';
import { defineConfig, type Plugin } from 'vite';

// `npm run dev` serves the page with the data of a running dashboard.
const dashboard = process.env['DASHBOARD_URL'] ?? 'http://127.0.0.1:8090';

const page = 'dist/page';

// What the page ships of others, with the licences that ask to come along.
const shipped = ['lightweight-charts', 'fancy-canvas', '@fontsource/ibm-plex-sans', '@fontsource/ibm-plex-mono'];

function licences(): Plugin {
  return {
    name: 'licences',
    generateBundle() {
      // The npm package comes without the NOTICE that its licence wants kept.
      const notice = readFileSync('NOTICE', 'utf8');
      const parts = shipped.map((name) => {
        const about = JSON.parse(readFileSync(`node_modules/${name}/package.json`, 'utf8')) as { version: string; license: string; author?: string };
        const file = `node_modules/${name}/LICENSE`;
        const text = existsSync(file) ? readFileSync(file, 'utf8').trim() : `Licence: ${about.license}. By ${about.author ?? name}.`;
        return `${name} ${about.version}\n\n${text}\n`;
      });
      this.emitFile({ type: 'asset', fileName: 'licences.txt', source: [notice, ...parts].join(`\n${'-'.repeat(80)}\n\n`) });
    },
  };
}

/** Lays beside each text that is shipped its Brotli form, which the service hands out in its place. */
function brotli(): Plugin {
  return {
    name: 'brotli',
    apply: 'build',
    enforce: 'post',
    closeBundle() {
      for (const name of readdirSync(page, { recursive: true, encoding: 'utf8' })) {
        if (!/\.(html|js|css|svg|txt|webmanifest)$/.test(name)) continue;
        const text = readFileSync(`${page}/${name}`);
        if (text.length >= 1024) writeFileSync(`${page}/${name}.br`, brotliCompressSync(text));
      }
    },
  };
}

export default defineConfig({
  plugins: [licences(), brotli()],
  build: {
    // Beside it lies the file that keeps dist/ in the repository.
    outDir: page,
    emptyOutDir: true,
    target: 'es2022',
    // The content security policy allows no fonts in data: addresses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { '/api': { target: dashboard, ws: true } } },
});
