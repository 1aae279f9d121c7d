// Figures as SVG and PNG, tables as CSV: made here, from what is shown.

const PAINT = [
  "fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-family",
  "font-size", "text-anchor", "vector-effect",
];

function save(name, content, type) {
  const link = document.createElement("a");
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  link.href = url;
  link.download = `spectra-${name}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

// A copy that needs no style sheet: what classes say is written out.
function standalone(svg) {
  const copy = svg.cloneNode(true);
  const [from, to] = [svg, copy].map((root) => [root, ...root.querySelectorAll("*")]);
  from.forEach((node, i) => {
    if (!node.isConnected) return;
    const paint = getComputedStyle(node);
    for (const name of PAINT) to[i].setAttribute(name, paint.getPropertyValue(name));
    to[i].removeAttribute("class");
  });
  const [left, top, width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  copy.setAttribute("width", width);
  copy.setAttribute("height", height);
  for (const name of ["id", "role", "aria-labelledby"]) copy.removeAttribute(name);
  const ground = document.createElementNS(SVG, "rect");
  for (const [key, value] of Object.entries({ x: left, y: top, width, height, fill: style("--paper") })) {
    ground.setAttribute(key, value);
  }
  copy.prepend(ground);
  return copy;
}

function svgOf(figure) {
  const inside = figure.querySelector("canvas") ? mapAsSvg() : figure.querySelector("svg");
  return new XMLSerializer().serializeToString(standalone(inside));
}

function saveSvg(figure) {
  save(`${figure.dataset.name}.svg`, svgOf(figure), "image/svg+xml");
}

function savePng(figure) {
  const image = new Image();
  image.onload = () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [2 * image.width, 2 * image.height];
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => save(`${figure.dataset.name}.png`, blob));
  };
  image.src = `data:image/svg+xml,${encodeURIComponent(svgOf(figure))}`;
}

// As in the tables beside this page: no cell is a formula, numbers are numbers.
function csvCell(text) {
  const plain = text === "–" ? "" : text.trim();
  if (/^-?[\d,]*\.?\d+(e-?\d+)?$/.test(plain)) return plain.replaceAll(",", "");
  const formula = /^[\t\r]|^\s*[=+\-@＝＋－＠]/m.test(plain);
  const safe = formula ? `'${plain}` : plain;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function headersOf(saved) {
  const [top, below] = saved.tHead.rows;
  if (!below) return [...top.cells].map((cell) => cell.textContent);
  let at = 0;
  return [...top.cells].flatMap((cell) => {
    if (cell.colSpan === 1) return [cell.textContent];
    const inner = [...below.cells].slice(at, (at += cell.colSpan));
    return inner.map((one) => `${cell.textContent}: ${one.textContent}`);
  });
}

// Names in full, where the table has cut them.
const NAMES = {
  "layer-table": (row) => drawn.layers[rows.indexOf(row)].name,
  "model-table": (row) => drawn.models[row.sectionRowIndex].name,
};

function csvOf(saved) {
  const name = NAMES[saved.id];
  const lines = [...saved.tBodies[0].rows].filter((row) => !row.hidden).map((row) => {
    const texts = [...row.cells].map((cell) => (cell.querySelector("summary") || cell).textContent);
    if (name) texts[0] = name(row);
    return texts;
  });
  return [headersOf(saved), ...lines].map((cells) => `${cells.map(csvCell).join(",")}\n`).join("");
}

function savers(named, kinds) {
  const box = document.createElement("p");
  box.className = "saves";
  for (const [kind, act] of kinds) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = kind;
    button.setAttribute("aria-label", `Save ${named.replaceAll("-", " ")} as ${kind}`);
    button.addEventListener("click", act);
    box.append(button);
  }
  return box;
}

function offerSaving() {
  for (const figure of document.querySelectorAll("figure[data-name]")) {
    figure.append(savers(figure.dataset.name, [
      ["SVG", () => saveSvg(figure)], ["PNG", () => savePng(figure)],
    ]));
  }
  for (const saved of document.querySelectorAll("table[data-name]")) {
    const name = saved.dataset.name;
    const after = saved.closest(".scroll") || saved;
    after.after(savers(name, [["CSV", () => save(`${name}.csv`, csvOf(saved), "text/csv")]]));
  }
  const study = byId("study-text");
  if (study) study.after(savers("study", [["TOML", () => save("study.toml", study.textContent, "text/plain")]]));
}
