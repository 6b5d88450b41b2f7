// The page: opens the GPU, loads a decoder and its dense twin, and lets both write.

import { browser } from "./browser.js";
import { decode, encode, generate } from "./decoder.js";
import { Gpu, fetchBytes, fetchJson } from "./launch.js";
import { corner, whole } from "./mask.js";

const $ = (id) => document.getElementById(id);
const at = (name) => new URL(`model/${name}`, location.href);
const SIDES = ["sparse", "dense"];
const NAMES = { sparse: "2:4", dense: "dense" };

let stopped = false;

try {
  await main();
} catch (error) {
  fail(error);
}

async function main() {
  const model = await fetchJson(at("model.json")).catch(() => {
    throw new Error("There is no model beside this page: `cargo xtask page` writes one.");
  });
  $("prompt").value = model.prompt;
  const bytes = { sparse: model.sparse_bytes, dense: model.dense_bytes };
  const size = (n) => `${(n / 1e6).toFixed(2)} MB`;
  bars("bytes", `Bytes of weights: ${(bytes.sparse / bytes.dense).toFixed(2)} of dense`, bytes, size);
  const { config } = model;
  fact(
    "Model",
    `${config.num_hidden_layers} blocks, ${config.hidden_size} wide, ${model.parameters.toLocaleString("en")} parameters; a token is a byte`,
  );
  fact("Browser", browser());
  const bits = new Uint8Array(await fetchBytes(at("mask.bin")));
  $("mask-whole").append(whole(model.mask, bits));
  $("mask-corner").append(corner(model.mask, bits));
  $("mask-name").textContent = `${model.mask.name}, ${model.mask.rows} × ${model.mask.columns}`;

  const gpu = await Gpu.open();
  fact("GPU, as far as browsers tell", gpu.description);
  const { limits } = gpu.device;
  fact(
    "Its limits",
    `${limits.maxComputeWorkgroupStorageSize / 1024} KiB of workgroup memory, ${limits.maxStorageBufferBindingSize / 2 ** 20} MiB in a binding`,
  );
  const programs = {};
  for (const side of SIDES) programs[side] = await gpu.load(at(`${side}.json`));
  fact("Kernels, 2:4", programs.sparse.kernels.join(", "));
  $("go").disabled = false;
  $("status").textContent = "Ready.";
  document.body.dataset.state = "ready";
  gpu.device.lost.then(() => gpu.waited(new Promise(() => {})).catch(fail));
  $("count").max = config.max_position_embeddings;
  $("stop").addEventListener("click", () => (stopped = true));
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    write(programs, config.max_position_embeddings).catch(fail);
  });
}

/** Both write, token by token in turn, so that whatever else the machine does slows both. */
async function write(programs, longest) {
  const prompt = $("prompt").value;
  const tokens = encode(prompt);
  const count = Math.min($("count").valueAsNumber || 0, longest - tokens.length + 1);
  if (tokens.length === 0 || count < 1) {
    $("status").textContent = `There must be a text and a number of tokens, ${longest} together at most.`;
    return;
  }
  stopped = false;
  busy(true);
  $("same").textContent = "";
  $("status").textContent = "Both write, in turn …";
  const writers = SIDES.map((side) => new Writer(side, prompt, generate(programs[side], tokens, count)));
  try {
    for (let i = 0; i < count && !stopped; i++) for (const writer of writers) await writer.next();
  } finally {
    busy(false);
  }
  const [sparse, dense] = writers;
  const written = sparse.tokens.length;
  $("status").textContent = `${stopped ? "Stopped" : "Done"}: ${written} ${written === 1 ? "token" : "tokens"} each.`;
  const apart = sparse.tokens.findIndex((token, i) => token !== dense.tokens[i]);
  $("same").textContent =
    apart < 0
      ? "Both wrote the same, token for token."
      : `Token ${apart + 1} differs. The two add in another order, which may decide between two almost equally likely tokens; if that happens often, a kernel is wrong on this GPU.`;
  const rates = { sparse: sparse.rate, dense: dense.rate };
  if (written > 1)
    bars("rates", `Tokens per second: ${(rates.sparse / rates.dense).toFixed(2)} of dense`, rates, (n) => n.toFixed(1));
  document.body.dataset.state = "done";
}

/** Shows what one side writes, and how fast. */
class Writer {
  tokens = [];
  #source;
  #ms = 0;
  #text;
  #rate;

  constructor(side, prompt, source) {
    this.#source = source;
    [this.#text, this.#rate] = [$(`${side}-text`), $(`${side}-rate`)];
    $(`${side}-prompt`).textContent = prompt;
    this.#text.textContent = this.#rate.textContent = "";
  }

  async next() {
    const start = performance.now();
    const { value } = await this.#source.next();
    // the first token waits for the prompt's
    if (this.tokens.push(value) > 1) this.#ms += performance.now() - start;
    this.#text.textContent = decode(this.tokens);
    this.#rate.textContent = this.rate ? `${this.rate.toFixed(1)} tokens/s` : "";
  }

  /** Tokens per second. */
  get rate() {
    return this.#ms && (1000 * (this.tokens.length - 1)) / this.#ms;
  }
}

function busy(is) {
  $("go").hidden = is;
  $("stop").hidden = !is;
  if (is) document.body.dataset.state = "busy";
}

/** A bar for each side, of the larger one's length at most. */
function bars(id, title, values, show) {
  const heading = document.createElement("h3");
  heading.textContent = title;
  const most = Math.max(...Object.values(values));
  const rows = SIDES.flatMap((side) => {
    const [name, bar, number] = ["span", "div", "span"].map((tag) => document.createElement(tag));
    name.textContent = NAMES[side];
    bar.className = `bar ${side}`;
    bar.style.width = `${(100 * values[side]) / most}%`;
    number.textContent = show(values[side]);
    return [name, bar, number];
  });
  $(id).replaceChildren(heading, ...rows);
}

function fact(name, words) {
  const [dt, dd] = ["dt", "dd"].map((tag) => document.createElement(tag));
  dt.textContent = name;
  dd.textContent = words;
  const pair = document.createElement("div");
  pair.append(dt, dd);
  $("facts").append(pair);
}

/** Says what went wrong, in the error's words; what was drawn so far stays. */
function fail(error) {
  $("fault").textContent = error.message;
  $("fault").hidden = false;
  $("status").textContent = "";
  $("go").disabled = true;
  document.body.dataset.state = "failed";
}
