// node page.mjs SITE OUT PROMPT COUNT: opens the page of a site in Chromium and lets it write, in light and dark,
// narrow and wide, each with a screenshot in OUT; then makes it fail in every way that it has words for. Prints a
// JSON line for each visit: { visit, state, fault, sparse, dense, same, wide, foreign, errors }: `wide` where the page is
// wider than the window, `foreign` the requests that left the site, `errors` what the console says.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { chromium, serve } from "./browser.mjs";

const [site, out, prompt, count] = process.argv.slice(2);
await mkdir(out, { recursive: true });
const server = await serve(site);

/** One visit: `before` prepares the page, `during` acts while it writes. */
async function visit(browser, name, { width = 1280, scheme = "light", before, during } = {}) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme });
  const page = await context.newPage();
  const foreign = [];
  const errors = [];
  page.on("request", (request) => request.url().startsWith(server.url) || foreign.push(request.url()));
  page.on("console", (line) => line.type() === "error" && errors.push(line.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  await before?.(page);
  await page.goto(server.url);
  await state(page, ["ready", "failed"]);
  if ((await page.getAttribute("body", "data-state")) === "ready") {
    await page.getByLabel("Text to go on from").fill(prompt);
    await page.getByLabel("Tokens to write").fill(count);
    await page.getByRole("button", { name: "Write" }).click();
    await during?.(page);
    await state(page, ["done", "failed"]);
  }
  await page.screenshot({ path: join(out, `${name}.png`), fullPage: true });
  const text = (id) => page.locator(`#${id}`).textContent();
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  const fault = (await page.locator("#fault").isVisible()) ? await text("fault") : null;
  const [sparse, dense, same] = [await text("sparse-text"), await text("dense-text"), await text("same")];
  const ended = await page.getAttribute("body", "data-state");
  console.log(JSON.stringify({ visit: name, state: ended, fault, sparse, dense, same, wide, foreign, errors }));
  await context.close();
}

const state = (page, states) =>
  page.waitForSelector(states.map((s) => `body[data-state=${s}]`).join(","), { timeout: 120_000 });

/** Changes a file of the site on its way. */
const changed = (file, change) => (page) =>
  page.route(`**/${file}`, async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, body: change(await answer.text()) });
  });

try {
  const browser = await chromium();
  for (const scheme of ["light", "dark"]) {
    await visit(browser, `${scheme}-wide`, { scheme });
    await visit(browser, `${scheme}-narrow`, { scheme, width: 390 });
  }
  const limit = (json) =>
    json.replace(/"maxStorageBufferBindingSize":\d+/, '"maxStorageBufferBindingSize":1099511627776');
  await visit(browser, "small-limit", { before: changed("sparse.json", limit) });
  const future = (json) => json.replace('"version":1', '"version":2');
  await visit(browser, "other-version", { before: changed("dense.json", future) });
  await visit(browser, "bad-shader", {
    before: changed("gather_f16_wgsl.wgsl", (text) => text.replace("fn gather_f16_wgsl", "fn gather_f16_wgsl(")),
  });
  await visit(browser, "no-model", {
    before: (page) => page.route("**/model.json", (route) => route.fulfill({ status: 404 })),
  });
  const hidden = () => Object.defineProperty(Navigator.prototype, "gpu", { get: () => undefined });
  await visit(browser, "no-webgpu", { before: (page) => page.addInitScript(hidden), width: 390 });
  const watched = () => {
    const ask = GPUAdapter.prototype.requestDevice;
    GPUAdapter.prototype.requestDevice = async function (...of) {
      return (window.taken = await ask.apply(this, of));
    };
  };
  const lose = async (page) => {
    await page.waitForFunction(() => document.getElementById("sparse-text").textContent.length > 0);
    await page.evaluate(() => window.taken.destroy());
  };
  await visit(browser, "lost", { before: (page) => page.addInitScript(watched), during: lose });
  await browser.close();
  const without = await chromium({ webgpu: false });
  await visit(without, "no-adapter", { scheme: "dark" });
  await without.close();
} finally {
  await server.close();
}
