// What a person sees, in a real Chromium: runs the scenes beside this file, two
// files at a time, or those that are named. dashboard/browser_test.go builds the
// made-up dashboard (SERVE) and finds the browser (CHROMIUM); screenshots, also of
// what failed, go to SHOTS.
import { launch, Pages, shotsFolder, Stage } from './harness.mjs';

// The longest first.
const all = ['access', 'chart', 'transport', 'states', 'memory', 'many', 'pipeline', 'watch', 'market'];
const files = process.argv.length > 2 ? process.argv.slice(2) : all;
shotsFolder();
const browser = await launch();
let [passed, failed] = [0, 0];
const waiting = [...files];
const worker = async () => {
  const pages = new Pages(browser);
  for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
    const stage = new Stage(pages, file);
    try {
      await (await import(`./${file}.mjs`)).default(stage);
    } catch (e) {
      stage.failed++;
      stage.lines.push(`FAIL ${file}: ${e.stack}`);
    }
    await stage.end();
    console.log(stage.lines.join('\n'));
    passed += stage.passed;
    failed += stage.failed;
  }
};
await Promise.all([worker(), worker()]);
await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
