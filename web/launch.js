// Replays on WebGPU what Rust wrote down: a list of launches, their memory and their kernels' names.
// Nothing here knows what a kernel computes; every number of a launch comes from its plan.
//
// A script is NAME.json and NAME.bin, written by quickpick's backend `Script` (crates/runtime/src/script/form.rs):
//
//   version    1
//   data       bytes of NAME.bin
//   needs      { features: [WebGPU's names], subgroup: lanes of the smallest subgroup or 0,
//                limits: { WebGPU's name: the least that serves } }
//   shaders    [{ name, subgroups, access }]        text: shaders/NAME.wgsl, its entry point NAME;
//                                                   access: "read" | "read_write" of each storage buffer
//   buffers    [{ bytes, writes }]                  writes: [to, from, length], in order: bytes of NAME.bin that it
//                                                   holds at first; the rest is zero
//   launches   [{ shader, bindings, params, grid }] shader: index; bindings: [buffer, offset, size] of each storage
//                                                   buffer, null where an operand is absent; params: u32 words
//   named      { name: { buffer, bytes } }          what is written before a run and read after
//
// Storage buffer i is @group(0) @binding(i); the parameters are the uniform that follows. Launches run in order.
//
//   const gpu = await Gpu.open();
//   const program = await gpu.load(new URL("sparse.json", location));
//   program.write("ids", new Uint32Array([65]));
//   const next = new Uint32Array(await program.run("likeliest"));
//
// Every error is a Fault: a sentence for people, and a `kind` for programs.

const VERSION = 1;

// The limits and features that kernels may want. A device gets all that its adapter has of them.
const LIMITS = [
  "maxBufferSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupsPerDimension",
  "maxComputeWorkgroupStorageSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxUniformBufferBindingSize",
];
const FEATURES = ["shader-f16", "subgroups"];

// Bindings may begin at multiples of this on every device (WebGPU, "Limits").
const ALIGNMENT = 256;

/** What went wrong, in words for people. `kind`: webgpu, adapter, limit, feature, script, shader, memory, device, lost. */
export class Fault extends Error {
  constructor(kind, words) {
    super(words);
    this.name = "Fault";
    this.kind = kind;
  }
}

/** A WebGPU device and the pipelines that were compiled on it. */
export class Gpu {
  #pipelines = new Map();
  #error = null;
  #lost;

  constructor(adapter, device) {
    this.adapter = adapter;
    this.device = device;
    this.#lost = device.lost.then((info) => {
      const why = (info.message || "the browser gives no reason").replace(/\.$/, "");
      throw new Fault("lost", `The GPU was lost (${info.reason || "unknown"}): ${why}. Reload the page to try again.`);
    });
    this.#lost.catch(() => {}); // whoever waits for the device hears of it
    device.addEventListener("uncapturederror", (event) => (this.#error ??= event.error.message));
  }

  /** Opens a device with all that its adapter has of what kernels may want. */
  static async open() {
    if (!navigator.gpu) {
      const why = globalThis.isSecureContext
        ? "This browser has no WebGPU. Chrome and Edge from 113, Safari from 26 and Firefox from 141 have it on most systems."
        : "WebGPU is there only over https or from localhost, and this page came another way.";
      throw new Fault("webgpu", why);
    }
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) {
      const why =
        "This browser has WebGPU, but no GPU for it: there is none, its driver is blocked, or WebGPU is switched off.";
      throw new Fault("adapter", why);
    }
    const requiredLimits = {};
    for (const name of LIMITS) if (adapter.limits[name] !== undefined) requiredLimits[name] = adapter.limits[name];
    const requiredFeatures = FEATURES.filter((name) => adapter.features.has(name));
    try {
      return new Gpu(adapter, await adapter.requestDevice({ requiredLimits, requiredFeatures }));
    } catch (error) {
      throw new Fault("device", `The GPU gives no device: ${error.message}`);
    }
  }

  /** The device in words; browsers tell no more of it. */
  get description() {
    const { vendor, architecture, device, description, isFallbackAdapter } = this.adapter.info;
    const words = [vendor, architecture, device, description].filter(Boolean).join(" ") || "a GPU without a name";
    return isFallbackAdapter ? `${words} (software)` : words;
  }

  /** Fetches a script and readies it. `text(name)` gives a kernel's WGSL; it is fetched from shaders/ beside the script. */
  async load(url, text = (name) => fetchText(new URL(`shaders/${name}.wgsl`, url))) {
    const script = await fetchJson(url);
    const data = await fetchBytes(new URL(url.href.replace(/\.json$/, ".bin")));
    return this.program(script, data, text);
  }

  /** Readies a script: `data` is an ArrayBuffer, `text(name)` gives a kernel's WGSL, or a promise of it. */
  async program(script, data, text) {
    this.check(script, data);
    const pipelines = await Promise.all(script.shaders.map((shader) => this.#pipeline(shader, text)));
    return this.guarded("device", "The GPU does not take the script", () => new Program(this, script, data, pipelines));
  }

  /** Whether the device serves a script; a Fault names what is too small, with both numbers. */
  check(script, data) {
    if (script.version !== VERSION) {
      throw new Fault("script", `The script is of version ${script.version}; this page reads version ${VERSION}.`);
    }
    if (script.data !== data.byteLength) {
      throw new Fault("script", `The script's data have ${data.byteLength} bytes; ${script.data} were expected.`);
    }
    const { features, subgroup, limits } = script.needs;
    for (const name of features) {
      if (!this.device.features.has(name))
        throw new Fault("feature", `The kernels need ${name}, which this GPU or browser does not have.`);
    }
    const lanes = this.adapter.info.subgroupMinSize ?? 0;
    if (subgroup > lanes)
      throw new Fault(
        "limit",
        `This GPU is too small: the kernels need subgroups of ${subgroup} lanes, and it has ${lanes}.`,
      );
    for (const [name, least] of Object.entries(limits)) {
      const has = this.device.limits[name] ?? 0;
      if (has < least)
        throw new Fault("limit", `This GPU is too small: ${name} must be ${least} at least, and is ${has}.`);
    }
  }

  /** Does work inside error scopes, and throws what they caught. The work does not wait: scopes are a stack that all share. */
  async guarded(kind, words, work) {
    const filters = ["validation", "out-of-memory", "internal"];
    filters.forEach((filter) => this.device.pushErrorScope(filter));
    let result, thrown;
    try {
      result = work();
    } catch (error) {
      thrown = error;
    }
    const errors = await this.waited(Promise.all(filters.map(() => this.device.popErrorScope())));
    const error = thrown ?? errors.find(Boolean);
    if (error instanceof GPUOutOfMemoryError) throw new Fault("memory", `The GPU's memory is full: ${error.message}`);
    if (error) throw new Fault(kind, `${words}: ${error.message}`);
    return result;
  }

  /** What the device answers, unless it is lost first, or something failed before. */
  async waited(promise) {
    const answer = await Promise.race([promise, this.#lost]);
    if (this.#error !== null) throw new Fault("device", `The GPU refused its work: ${this.#error}`);
    return answer;
  }

  #pipeline(shader, text) {
    if (!this.#pipelines.has(shader.name)) this.#pipelines.set(shader.name, this.#compile(shader, text));
    return this.#pipelines.get(shader.name);
  }

  async #compile({ name, subgroups, access }, text) {
    // naga 30, which reads the same files, does not know this line yet; Dawn demands it
    const code = (subgroups ? "enable subgroups;\n" : "") + (await text(name));
    const words = `The browser does not compile ${name}`;
    // errors are asked for below, with their lines
    this.device.pushErrorScope("validation");
    const module = this.device.createShaderModule({ label: name, code });
    this.device.popErrorScope().catch(() => {});
    const { messages } = await this.waited(module.getCompilationInfo());
    const bad = messages.find((message) => message.type === "error");
    if (bad) throw new Fault("shader", `${words}, line ${bad.lineNum - (subgroups ? 1 : 0)}: ${bad.message}`);
    const types = [...access.map((way) => (way === "read" ? "read-only-storage" : "storage")), "uniform"];
    const entries = types.map((type, binding) => ({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } }));
    const { group, layout } = await this.guarded("shader", words, () => {
      const group = this.device.createBindGroupLayout({ label: name, entries });
      return { group, layout: this.device.createPipelineLayout({ label: name, bindGroupLayouts: [group] }) };
    });
    try {
      const compute = { module, entryPoint: name };
      const pipeline = await this.waited(this.device.createComputePipelineAsync({ label: name, layout, compute }));
      return { pipeline, group };
    } catch (error) {
      throw error instanceof Fault ? error : new Fault("shader", `${words}: ${error.message}`);
    }
  }
}

/** A script in a device's memory. */
export class Program {
  #gpu;
  #named;
  #buffers;
  #launches;
  #others;
  #staging = null;

  constructor(gpu, script, data, pipelines) {
    const { device } = (this.#gpu = gpu);
    this.#named = script.named;
    /** The kernels' names. */
    this.kernels = script.shaders.map(({ name }) => name);
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    this.#buffers = script.buffers.map(({ bytes, writes }) => {
      const buffer = device.createBuffer({ size: bytes, usage });
      for (const [to, from, length] of writes) device.queue.writeBuffer(buffer, to, data, from, length);
      return buffer;
    });
    // an absent operand gets memory that nobody else binds, each its own part of it, for no two may overlap
    const most = Math.max(1, ...script.launches.map((launch) => launch.bindings.length));
    const [read, written] = [0, 1].map(() => device.createBuffer({ size: ALIGNMENT * most, usage }));
    // all parameters lie in one buffer
    const words = Math.max(4, ...script.launches.map((launch) => launch.params.length));
    const stride = Math.ceil((4 * words) / ALIGNMENT) * ALIGNMENT;
    const params = new Uint32Array((stride / 4) * Math.max(1, script.launches.length));
    script.launches.forEach((launch, i) => params.set(launch.params, (stride / 4) * i));
    const uniform = device.createBuffer({
      size: params.byteLength,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    });
    device.queue.writeBuffer(uniform, 0, params);
    this.#others = [read, written, uniform];
    this.#launches = script.launches.map(({ shader, bindings, params, grid }, number) => {
      const { pipeline, group } = pipelines[shader];
      const resources = bindings.map((bound, i) => {
        if (bound) return { buffer: this.#buffers[bound[0]], offset: bound[1], size: bound[2] };
        const buffer = script.shaders[shader].access[i] === "read" ? read : written;
        return { buffer, offset: ALIGNMENT * i, size: ALIGNMENT };
      });
      resources.push({ buffer: uniform, offset: stride * number, size: 4 * params.length });
      const entries = resources.map((resource, binding) => ({ binding, resource }));
      return { pipeline, group: device.createBindGroup({ layout: group, entries }), grid };
    });
  }

  /** Writes a typed array to a named buffer, from its start on. */
  write(name, words) {
    const { buffer, bytes } = this.#find(name);
    if (words.byteLength > bytes)
      throw new Fault("script", `${words.byteLength} bytes do not fit into ${name}, which has ${bytes}.`);
    this.#gpu.device.queue.writeBuffer(this.#buffers[buffer], 0, words);
  }

  /** Runs all launches, in one submission, and brings back a named buffer, or its first `bytes`, as an ArrayBuffer;
      without a name it waits for nothing. */
  run(name, bytes) {
    return this.#submit(name, bytes, (encoder) => {
      const pass = encoder.beginComputePass();
      for (const { pipeline, group, grid } of this.#launches) {
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(...grid);
      }
      pass.end();
    });
  }

  /** A named buffer, or its first `bytes`, as an ArrayBuffer. */
  read(name, bytes) {
    return this.#submit(name, bytes, () => {});
  }

  /** Gives the memory back. */
  destroy() {
    [...this.#buffers, ...this.#others, this.#staging].forEach((buffer) => buffer?.destroy());
  }

  async #submit(name, bytes, encode) {
    const { device } = this.#gpu;
    const encoder = device.createCommandEncoder();
    encode(encoder);
    if (name === undefined) return device.queue.submit([encoder.finish()]);
    const found = this.#find(name);
    const size = bytes ?? found.bytes;
    if (size > found.bytes) throw new Fault("script", `${name} has ${found.bytes} bytes; ${size} were asked for.`);
    if (!this.#staging || this.#staging.size < size) {
      this.#staging?.destroy();
      this.#staging = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    }
    const staging = this.#staging;
    encoder.copyBufferToBuffer(this.#buffers[found.buffer], 0, staging, 0, size);
    device.queue.submit([encoder.finish()]);
    try {
      await this.#gpu.waited(staging.mapAsync(GPUMapMode.READ, 0, size));
    } catch (error) {
      await this.#gpu.waited(new Promise((later) => setTimeout(later, 0))); // the cause, if there is one, is known by now
      throw error instanceof Fault ? error : new Fault("device", `The GPU gives no answer: ${error.message}`);
    }
    const copy = staging.getMappedRange(0, size).slice(0);
    staging.unmap();
    return copy;
  }

  #find(name) {
    const found = Object.hasOwn(this.#named, name) && this.#named[name];
    if (!found) throw new Fault("script", `The script has no buffer of the name ${name}.`);
    return found;
  }
}

async function fetched(url) {
  let answer;
  try {
    answer = await fetch(url);
  } catch (error) {
    throw new Fault("script", `${url} cannot be fetched: ${error.message}.`);
  }
  if (!answer.ok) throw new Fault("script", `${url} cannot be fetched: ${answer.status} ${answer.statusText}.`);
  return answer;
}

export const fetchText = async (url) => (await fetched(url)).text();
export const fetchBytes = async (url) => (await fetched(url)).arrayBuffer();
export const fetchJson = async (url) => {
  const text = await fetchText(url);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Fault("script", `${url} is no JSON: ${error.message}.`);
  }
};
