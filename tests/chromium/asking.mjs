// node asking.mjs SITE OUT: opens the page of a site, presses "Ask it", waits for the answers, and saves screenshots in
// OUT. Prints { status, rows, posted } as a JSON line: what the page says, the table's rows, and what it sent.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { chromium, serve } from "./browser.mjs";

const [site, out] = process.argv.slice(2);
await mkdir(out, { recursive: true });
const posted = [];
const server = await serve(site, (path, text) => posted.push({ path, text }));
const browser = await chromium();
try {
  for (const [width, colorScheme] of [
    [1280, "light"],
    [390, "dark"],
  ]) {
    const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
    await page.goto(server.url);
    await page.getByRole("button", { name: "Ask it" }).click();
    await page.waitForSelector("#ask[data-state=done]", { timeout: 300_000 });
    await page.locator("#parity").scrollIntoViewIfNeeded();
    await page.screenshot({ path: join(out, `asked-${width}-${colorScheme}.png`) });
    const status = await page.locator("#ask-status").textContent();
    const rows = await page.locator("#answers tr").allTextContents();
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    console.log(JSON.stringify({ status, rows, wide, posted: posted.pop() ?? null }));
    await page.close();
  }
} finally {
  await browser.close();
  await server.close();
}
