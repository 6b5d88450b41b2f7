// node tint.mjs FOLDER: what Tint, the WGSL compiler of Chrome, says of each FOLDER/*.wgsl, on a device of Dawn's null
// backend, which has every feature and runs nothing. Prints { features } first, then { name, error } of each file, null
// where there is none. Dawn for node is the npm package `webgpu`, in the folder QUICKPICK_DAWN.

import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";

const [folder] = process.argv.slice(2);
const { create, globals } = await import(join(process.env.QUICKPICK_DAWN, "index.js"));
Object.assign(globalThis, globals);
globalThis.dawn = create(["backend=null"]); // collected, it would take its devices with it
const adapter = await globalThis.dawn.requestAdapter();
const requiredFeatures = ["shader-f16", "subgroups"].filter((name) => adapter.features.has(name));
const device = await adapter.requestDevice({ requiredFeatures });
console.log(JSON.stringify({ features: requiredFeatures.join(" ") }));
for (const file of (await readdir(folder)).filter((name) => name.endsWith(".wgsl")).sort()) {
  const text = await readFile(join(folder, file), "utf8");
  // as launch.js: naga 30 refuses the line that Dawn demands
  const code = text.includes("subgroupShuffle(") ? `enable subgroups;\n${text}` : text;
  const { messages } = await device.createShaderModule({ code }).getCompilationInfo();
  const error = messages.find((message) => message.type === "error")?.message ?? null;
  console.log(JSON.stringify({ name: file.replace(/\.wgsl$/, ""), error }));
}
process.exit(0); // Dawn's threads would stay
