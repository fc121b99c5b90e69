// What a person sees, in a real Chromium: runs the scenes beside this file, two
// files at a time, or those that are named, and a file that failed once more by
// itself. dashboard/browser_test.go builds the
// made-up dashboard (SERVE) and finds the browser (CHROMIUM); screenshots, also of
// what failed, go to SHOTS.
import { launch, Pages, shotsFolder, Stage } from './harness.mjs';

// The longest first.
const all = ['access', 'chart', 'transport', 'states', 'memory', 'many', 'pipeline', 'watch', 'market'];
const files = process.argv.length > 2 ? process.argv.slice(2) : all;
shotsFolder();
const browser = await launch();
let [passed, failed] = [0, 0];
const troubles = []; // told at the end, where they are found

/** Runs a file's scenes and tells whether they passed; such as failed count only where they have no second chance. */
const run = async (pages, file, last) => {
  const stage = new Stage(pages, file);
  try {
    await (await import(`./${file}.mjs`)).default(stage);
  } catch (e) {
    stage.failed++;
    stage.lines.push(`FAIL ${file}: ${e.stack}`);
  }
  await stage.end();
  console.log(stage.lines.join('\n'));
  troubles.push(...stage.lines.filter((line) => line.startsWith('FAIL')));
  if (stage.failed > 0 && !last) return false;
  passed += stage.passed;
  failed += stage.failed;
  return true;
};

const [waiting, again] = [[...files], []];
const worker = async () => {
  const pages = new Pages(browser);
  for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
    if (!(await run(pages, file, false))) again.push(file);
  }
};
await Promise.all([worker(), worker()]);
// On a slow machine two at a time can be too much for what has to happen within seconds.
for (const file of again) {
  console.log(`${file} once more, by itself`);
  await run(new Pages(browser), file, true);
}
await browser.close();
if (troubles.length > 0) console.log(`what failed, at the first try or the second:\n${troubles.join('\n')}`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
