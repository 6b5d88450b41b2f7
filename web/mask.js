// A layer's 2:4 mask as pictures. `bits` has a byte for each group of four columns, row by row: bit i is set where
// column i is kept.

const NS = "http://www.w3.org/2000/svg";

/** The whole layer, a square for each weight. */
export function whole({ rows, columns }, bits) {
  return picture(
    columns,
    rows,
    (row, column) => kept(bits, columns, row, column),
    0,
    `All ${rows} × ${columns} weights`,
  );
}

/** The first rows and columns, the groups of four apart. */
export function corner({ rows, columns }, bits, most = [22, 24]) {
  const [height, width] = [Math.min(rows, most[0]), Math.min(columns, most[1])];
  const svg = picture(
    width,
    height,
    (row, column) => kept(bits, columns, row, column),
    0.4,
    `The first ${height} × ${width} weights`,
  );
  svg.classList.add("corner");
  return svg;
}

function kept(bits, columns, row, column) {
  return (bits[(row * columns + column) >> 2] >> (column & 3)) & 1;
}

/** Squares of 1 × 1, a little smaller where groups have a gap; kept ones and others are a path each. */
function picture(width, height, is, gap, label) {
  const paths = ["", ""];
  const side = gap > 0 ? 0.86 : 1;
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const one = is(row, column);
      if (one || gap > 0)
        paths[one] += `M${(column + gap * (column >> 2)).toFixed(1)} ${row}h${side}v${side}h-${side}z`;
    }
  }
  const svg = element("svg", {
    viewBox: `0 0 ${width + gap * ((width - 1) >> 2)} ${height}`,
    role: "img",
    "aria-label": label,
  });
  svg.append(element("path", { class: "gone", d: paths[0] }), element("path", { class: "kept", d: paths[1] }));
  return svg;
}

function element(name, attributes) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
