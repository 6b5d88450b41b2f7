// Asks a browser's GPU the questions that quickpick-parity asks every device, and judges its answers as that does
// (crates/parity/src/check.rs): each element within its bound, what surrounds an output untouched, two runs of one
// kernel the same bits.
//
// A folder of questions is written by Rust (crates/parity/src/questions.rs):
//
//   index.json    { version, kernels, depth, only, list: [KERNEL] }   as in a report
//   KERNEL.json   { kernel, margin, cases: [{ case, skipped, inputs }] }
//                 skipped: why it cannot be asked, or ""
//                 inputs: [{ problem, script, data, outputs }]        script: as launch.js replays it; data: its
//                                                                     bytes' [offset, length] in KERNEL.bin
//                 outputs: [{ name, dtype, expected, bytes }]         expected: [offset, length] of f64 pairs
//                                                                     (value, bound); a bound of NaN: any NaN; of −1:
//                                                                     untouched; or, if `bytes`, of the bytes of i8.
//                                                                     The output lies in the named buffer behind
//                                                                     `margin` bytes of 0xff, and before more
//   KERNEL.bin
//
// The report is the file that `cargo xtask parity --merge` takes.

import { Fault, fetchBytes, fetchJson } from "./launch.js";

const FORM = 1;

/** 32-bit FNV-1a, as quickpick_parity::Digest. */
class Digest {
  constructor(hash = 0x811c9dc5) {
    this.hash = hash;
  }

  and(bytes) {
    let hash = this.hash;
    for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
    return new Digest(hash >>> 0);
  }

  andDigest({ hash }) {
    return this.and([hash & 255, (hash >>> 8) & 255, (hash >>> 16) & 255, hash >>> 24]);
  }

  toString() {
    return this.hash.toString(16).padStart(8, "0");
  }
}

const f32 = (bits) => new Float32Array(Uint32Array.of(bits).buffer)[0];

// An element's value, by its type.
const DECODE = {
  f32: { size: 4, read: (view, at) => view.getFloat32(at, true) },
  bf16: { size: 2, read: (view, at) => f32(view.getUint16(at, true) << 16) },
  i8: { size: 1, read: (view, at) => view.getInt8(at) },
  f16: {
    size: 2,
    read(view, at) {
      const bits = view.getUint16(at, true);
      const [sign, exponent, fraction] = [bits >>> 15 ? -1 : 1, (bits >>> 10) & 31, bits & 1023];
      if (exponent === 31) return fraction ? NaN : sign * Infinity;
      return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : fraction * 2 ** -24);
    },
  },
};

/** Compares an output with what must be in it: { largest, exact, bits }, or throws what is wrong. */
export function compare(bytes, dtype, expected) {
  const { size, read } = DECODE[dtype];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let [largest, exact, wrong, first] = [0, true, 0, ""];
  for (let i = 0; 2 * i < expected.length; i++) {
    const [value, bound] = [expected[2 * i], expected[2 * i + 1]];
    const got = read(view, size * i);
    let good;
    if (Number.isNaN(bound)) {
      good = Number.isNaN(got);
      exact = false;
    } else if (bound === -1) {
      good = bytes.subarray(size * i, size * (i + 1)).every((byte) => byte === 0xff);
    } else {
      const [error, infinite] = [Math.abs(got - value), dtype === "f16" && Math.abs(got) === Infinity];
      // an infinity of f16 stands for 2¹⁶, the next number if it had one, or any beyond (quickpick_kernels::bound)
      good = infinite ? value * Math.sign(got) >= 65536 - bound : error <= bound;
      if (bound > 0) {
        exact = false;
        if (!infinite) largest = Math.max(largest, error / bound);
      }
    }
    if (!good) {
      const words = Number.isNaN(bound) ? "NaN" : bound === -1 ? "untouched" : `${value} ± ${bound}`;
      if (!wrong++) first = `element ${i} is ${got}, not ${words}`;
    }
  }
  if (wrong) throw new Fault("wrong", `${first}; ${wrong} of ${expected.length / 2} are wrong`);
  return { largest, exact, bits: new Digest().and(bytes) };
}

const NOTHING = { largest: 0, exact: true, bits: new Digest() };
const both = (a, b) => ({ largest: Math.max(a.largest, b.largest), exact: a.exact && b.exact, bits: a.bits.andDigest(b.bits) });

/** Asks for one kernel; answers cells as a report has them. `seen` is told each, and the share done. */
export async function askKernel(gpu, folder, kernel, seen = () => {}) {
  const questions = await fetchJson(new URL(`${kernel}.json`, folder));
  const data = await fetchBytes(new URL(`${kernel}.bin`, folder));
  const cells = [];
  for (const { case: name, skipped, inputs } of questions.cases) {
    const outcome = skipped ? { skipped } : await askCase(gpu, folder, questions.margin, inputs, data);
    cells.push({ kernel: questions.kernel, case: name, outcome });
    seen(cells.at(-1), cells.length / questions.cases.length);
  }
  return cells;
}

async function askCase(gpu, folder, margin, inputs, data) {
  let all = NOTHING;
  for (const input of inputs) {
    try {
      all = both(all, await askInput(gpu, folder, margin, input, data));
    } catch (error) {
      // what the device lacks is no wrong answer; all else is
      if (error.kind === "feature" || error.kind === "limit") return { skipped: error.message };
      return { failed: `${input.problem}: ${error.message}` };
    }
  }
  return { passed: { ppm: Math.ceil(all.largest * 1e6), exact: all.exact, bits: `${all.bits}` } };
}

async function askInput(gpu, folder, margin, { script, data: [at, length], outputs }, data) {
  const text = async (name) => (await fetch(new URL(`../shaders/${name}.wgsl`, folder))).text();
  const program = await gpu.program(script, data.slice(at, at + length), text);
  try {
    const runs = [];
    for (const round of ["first", "second"]) {
      let found = NOTHING;
      for (const [i, { name, dtype, expected, bytes }] of outputs.entries()) {
        const all = new Uint8Array(await (i === 0 ? program.run(name) : program.read(name)));
        const written = data.slice(expected[0], expected[0] + expected[1]);
        const wanted = bytes ? exactly(new Int8Array(written)) : new Float64Array(written);
        const end = margin + (DECODE[dtype].size * wanted.length) / 2;
        try {
          found = both(found, compare(all.subarray(margin, end), dtype, wanted));
          const outside = all.findIndex((byte, i) => byte !== 0xff && (i < margin || i >= end));
          if (outside >= 0) throw new Fault("wrong", `wrote at byte ${outside - margin} of ${end - margin}`);
        } catch (error) {
          throw error.kind === "wrong" ? new Fault("wrong", `${round} run, ${name}: ${error.message}`) : error;
        }
      }
      runs.push(found);
    }
    if (`${runs[0].bits}` !== `${runs[1].bits}`) throw new Fault("wrong", "a second run gives other bits");
    return runs[0];
  } finally {
    program.destroy();
  }
}

/** Values as pairs with bounds of 0. */
function exactly(values) {
  const pairs = new Float64Array(2 * values.length);
  values.forEach((value, i) => (pairs[2 * i] = value));
  return pairs;
}

/** Asks everything in a folder of questions; answers the text of a report's file. `seen` is told each cell, and the share done. */
export async function ask(gpu, folder, executor, device, seen = () => {}) {
  const { list, ...scope } = await fetchJson(new URL("index.json", folder)).catch(() => {
    throw new Fault("script", "There are no questions beside this page: `cargo xtask page` writes them.");
  });
  const cells = [];
  for (const [i, kernel] of list.entries()) {
    const told = (cell, share) => seen(cell, (i + share) / list.length);
    cells.push(...(await askKernel(gpu, folder, kernel, told)));
  }
  return sealed({ ...scope, columns: [{ executor, kind: "browser", device, cells }] });
}

/** A report as a file: its seal is the digest of its compact JSON. */
export function sealed(report) {
  const seal = `${new Digest().and(new TextEncoder().encode(JSON.stringify(report)))}`;
  return JSON.stringify({ "quickpick-parity": FORM, seal, report });
}
