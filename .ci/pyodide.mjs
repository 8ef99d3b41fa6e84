// Run part of .ci/pyodide inside Pyodide: node .ci/pyodide.mjs ROOM digests|tests [pytest arguments]
// The library comes from the wheel alone: of the checkout only what tests are is mounted, beside the recordings if any.
import { existsSync, readFileSync, readdirSync, realpathSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [room, what, ...args] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(resolve(room, "node_modules/pyodide/pyodide.mjs")));

const HOME = "/home/pyodide";
const CHECKOUT = `${HOME}/checkout`;
const SHARED = resolve("../shared");

try {
  const pyodide = await loadPyodide({ env: { HOME, HYPOTHESIS_PROFILE: "ci", PYTHONDONTWRITEBYTECODE: "1" } });
  const wheels = ["wheels", "ours"].flatMap((name) => readdirSync(resolve(room, name)).map((file) => resolve(room, name, file)));
  await pyodide.loadPackage(wheels, { messageCallback: () => {}, checkIntegrity: false });
  const mount = (path, target) => {
    pyodide.FS.mkdirTree(target);
    pyodide.mountNodeFS(target, realpathSync(path));
  };
  for (const name of ["tests", "fuzz", ".ci"]) mount(name, `${CHECKOUT}/${name}`);
  pyodide.FS.writeFile(`${CHECKOUT}/pyproject.toml`, readFileSync("pyproject.toml", "utf8"));
  if (existsSync(SHARED)) mount(SHARED, `${HOME}/shared`);
  pyodide.globals.set("ARGUMENTS", pyodide.toPy(args));
  process.exitCode = pyodide.runPython(`
import os, runpy, sys
os.chdir("${CHECKOUT}")
runpy.run_path(".ci/pyodide_${what}.py")["main"](ARGUMENTS)
`);
} catch (error) {
  // Node would show the line that threw, which is a megabyte of minified code.
  console.error(String(error?.stack ?? error).slice(-4000));
  process.exitCode = 1;
}
