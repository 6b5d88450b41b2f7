// The page's section that asks this GPU what quickpick-parity asks every device, shows the answers kernel by kernel,
// gives the report to save, and offers it to the page's own server, which need not take it.

import { browser } from "./browser.js";
import { Gpu } from "./launch.js";
import { ask } from "./parity.js";

const $ = (id) => document.getElementById(id);
const EXECUTOR = "browser"; // its words of the device tell one from another

$("ask").addEventListener("click", async () => {
  $("ask").disabled = true;
  $("report").hidden = true;
  try {
    await asked();
  } catch (error) {
    $("ask-status").textContent = error.message;
  } finally {
    $("ask").disabled = false;
    $("asked").hidden = true;
    $("ask").dataset.state = "done";
  }
});

async function asked() {
  const gpu = await Gpu.open();
  const rows = new Map();
  const table = $("answers");
  table.replaceChildren(row("thead", "th", ["kernel", "passed", "failed", "skipped", "worst", "why"]));
  table.hidden = $("asked").hidden = false;
  $("ask-status").textContent = "Asking …";
  const seen = (cell, done) => {
    if (!rows.has(cell.kernel)) rows.set(cell.kernel, new Row(table, cell.kernel));
    rows.get(cell.kernel).add(cell.outcome);
    $("asked").value = done;
  };
  const device = `${browser()}, ${gpu.description}`;
  const report = await ask(gpu, new URL("parity/", location.href), EXECUTOR, device, seen);
  const sum = (what) => [...rows.values()].reduce((all, row) => all + row[what], 0);
  $("report").href = URL.createObjectURL(new Blob([report], { type: "application/json" }));
  $("report").hidden = false;
  const taken = await fetch(new URL("parity/results", location.href), { method: "POST", body: report }).catch(() => null);
  const sent = taken?.ok ? " This page's server has the report." : "";
  $("ask-status").textContent = `${sum("passed")} cases passed, ${sum("failed")} failed, ${sum("skipped")} skipped.${sent}`;
}

/** A kernel's answers. */
class Row {
  passed = 0;
  failed = 0;
  skipped = 0;
  #ppm = 0;
  #exact = true;
  #why = "";
  #element;

  constructor(table, kernel) {
    this.kernel = kernel;
    this.#element = document.createElement("tbody");
    table.append(this.#element);
  }

  add({ passed, failed, skipped }) {
    if (passed) {
      this.passed++;
      this.#ppm = Math.max(this.#ppm, passed.ppm);
      this.#exact &&= passed.exact;
    } else if (failed) this.failed++;
    else this.skipped++;
    this.#why ||= failed ?? skipped ?? "";
    const worst = this.passed ? (this.#exact ? "the same bits" : (this.#ppm / 1e6).toFixed(3)) : "";
    const shown = row("tr", "td", [this.kernel, this.passed, this.failed, this.skipped, worst, this.#why]);
    shown.classList.toggle("failed", this.failed > 0);
    this.#element.replaceChildren(shown);
  }
}

/** A row of a table; its first cell is a heading. In a head it is wrapped. */
function row(tag, cell, words) {
  const element = document.createElement("tr");
  words.forEach((word, i) => {
    const own = document.createElement(i ? cell : "th");
    own.textContent = word;
    element.append(own);
  });
  if (tag === "tr") return element;
  const head = document.createElement(tag);
  head.append(element);
  return head;
}
