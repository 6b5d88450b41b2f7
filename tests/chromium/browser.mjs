// Headless Chromium with WebGPU on SwiftShader, a static server, and their end: for the programs beside.
//
// playwright-core comes from the folder QUICKPICK_PLAYWRIGHT, the browser from QUICKPICK_CHROMIUM; its own browsers
// are not fetched.

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { extname, join, normalize } from "node:path";

// Debian's Chromium 156 with these has the adapter google/swiftshader: WebGPU's default limits, but 32 KiB of workgroup
// memory, 10 storage buffers and bindings of 1 GiB; subgroups of 4 lanes, no shader-f16. Without them it has no adapter.
const WEBGPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];

const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".svg": "image/svg+xml",
};

/**
 * Serves a folder on a port of its own. WebGPU wants a secure context, which 127.0.0.1 is. `posted(path, text)` takes
 * what is sent; without it the server is a static one.
 */
export async function serve(folder, posted) {
  const server = createServer(async (request, response) => {
    if (request.method === "POST" && posted) {
      let text = "";
      for await (const part of request.setEncoding("utf8")) text += part;
      posted(request.url, text);
      return response.writeHead(204).end();
    }
    if (request.method !== "GET") return response.writeHead(405).end();
    const path = normalize(decodeURIComponent(new URL(request.url, "http://x").pathname));
    const file = join(folder, path.endsWith("/") ? `${path}index.html` : path);
    const found = await stat(file).catch(() => null);
    if (!found?.isFile()) return response.writeHead(404).end();
    response.writeHead(200, {
      "content-type": TYPES[extname(file)] ?? "application/octet-stream",
      "content-length": found.size,
    });
    createReadStream(file).pipe(response);
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const close = () => new Promise((closed) => (server.close(closed), server.closeAllConnections()));
  return { url: `http://127.0.0.1:${server.address().port}/`, close };
}

/** Opens the browser, with WebGPU or without. */
export async function chromium({ webgpu = true } = {}) {
  const require = createRequire(import.meta.url);
  const playwright = require(process.env.QUICKPICK_PLAYWRIGHT);
  // a container has no user namespaces for Chromium's sandbox, and only our own pages are opened
  const args = ["--no-sandbox", ...(webgpu ? WEBGPU : [])];
  return playwright.chromium.launch({ executablePath: process.env.QUICKPICK_CHROMIUM, args });
}
