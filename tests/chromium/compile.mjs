// node compile.mjs ROOT NAME…: what Chromium's compiler, Tint, says of ROOT/shaders/NAME.wgsl. Prints a JSON line: the
// device's features first, then { name, error } of each, error null where it makes a pipeline.

import { chromium, serve } from "./browser.mjs";

const [root, ...names] = process.argv.slice(2);
const print = (line) => console.log(JSON.stringify(line));
const server = await serve(root);
const browser = await chromium();
try {
  const page = await browser.newPage();
  await page.goto(`${server.url}web/icon.svg`);
  print({ features: await page.evaluate(open) });
  for (const name of names) print({ name, error: await page.evaluate(compile, name) });
} finally {
  await browser.close();
  await server.close();
}

async function open() {
  const { Gpu } = await import("/web/launch.js");
  window.gpu = await Gpu.open();
  return [...window.gpu.device.features];
}

/** Kernels are compiled as for a script, which is left empty. */
async function compile(name) {
  const text = await (await fetch(`/shaders/${name}.wgsl`)).text();
  const bindings = [...text.matchAll(/var<storage, (\w+)>/g)].map(([, access]) => access);
  const shaders = [{ name, subgroups: name.includes("_subgroups_"), access: bindings }];
  const script = {
    version: 1,
    data: 0,
    needs: { features: [], subgroup: 0, limits: {} },
    shaders,
    buffers: [],
    launches: [],
    named: {},
  };
  try {
    await window.gpu.program(script, new ArrayBuffer(0), () => text);
    return null;
  } catch (error) {
    return error.message;
  }
}
