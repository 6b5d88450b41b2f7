// node replay.mjs FOLDER NAME…: replays FOLDER/NAME.json, each a script, in Chromium, with FOLDER/launch.js and
// FOLDER/shaders. Writes each named buffer to FOLDER/out/NAME.BUFFER, and prints a JSON line: the device and browser
// first, then { name } or { name, kind, error } of each script.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { chromium, serve } from "./browser.mjs";

const [folder, ...names] = process.argv.slice(2);
const print = (line) => console.log(JSON.stringify(line));
await mkdir(join(folder, "out"), { recursive: true });
await writeFile(join(folder, "index.html"), "<!doctype html><title>replay</title>");
const server = await serve(folder);
const browser = await chromium();
try {
  const page = await browser.newPage();
  await page.goto(server.url);
  print({ browser: browser.version(), device: await page.evaluate(open) });
  for (const name of names) {
    const { error, ...answer } = await page.evaluate(replay, name);
    if (error) print({ name, ...error });
    else {
      for (const [buffer, bytes] of Object.entries(answer.read))
        await writeFile(join(folder, "out", `${name}.${buffer}`), Buffer.from(bytes, "base64"));
      print({ name });
    }
  }
} finally {
  await browser.close();
  await server.close();
}

async function open() {
  const { Gpu } = await import("/launch.js");
  window.gpu = await Gpu.open();
  return window.gpu.description;
}

async function replay(name) {
  try {
    const { gpu } = window;
    const url = new URL(`${name}.json`, location);
    const program = await gpu.load(url);
    const script = await (await fetch(url)).json();
    const read = {};
    let ran = false;
    for (const buffer of Object.keys(script.named)) {
      const bytes = new Uint8Array(await (ran ? program.read(buffer) : program.run(buffer)));
      ran = true;
      let text = "";
      for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
      read[buffer] = btoa(text);
    }
    program.destroy();
    return { read };
  } catch (error) {
    return { error: { kind: error.kind ?? "bug", error: error.message } };
  }
}
