// node parity.mjs FOLDER: asks Chromium the questions of FOLDER/parity, with FOLDER's modules and shaders, and prints
// a report's file as one line of JSON. node parity.mjs: the browser and its device, as { device }.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { chromium, serve } from "./browser.mjs";

const [folder, executor] = process.argv.slice(2);
await writeFile(join(folder, "index.html"), "<!doctype html><title>parity</title>");
const server = await serve(folder);
const browser = await chromium();
try {
  const page = await browser.newPage();
  await page.goto(server.url);
  const device = `Chromium ${browser.version()}, ${await page.evaluate(open)}`;
  if (executor) console.log(await page.evaluate(asked, { executor, device }));
  else console.log(JSON.stringify({ device }));
} finally {
  await browser.close();
  await server.close();
}

async function open() {
  const { Gpu } = await import("/launch.js");
  window.gpu = await Gpu.open();
  return window.gpu.description;
}

async function asked({ executor, device }) {
  const { ask } = await import("/parity.js");
  return ask(window.gpu, new URL("/parity/", location), executor, device);
}
