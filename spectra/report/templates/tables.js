// The table of layers: which rows, at which k, in which order.

const table = byId("layer-table");
const rows = table ? [...table.tBodies[0].rows] : [];
const told = rows.map((row) => [...row.cells].map((cell) => cell.textContent));
const FIRST = 2;

// The cells that depend on k, in the order of the columns.
function cellsAt(layer, k) {
  const [evr] = valuesAt(layer.explained, k);
  const [norms] = valuesAt(layer.norms, k);
  const [, q95] = valuesAt(nullOf(layer), k);
  const [captured, random] = valuesAt(layer.held_out, k);
  const isotropic = k < layer.n ? k / (layer.n - 1) : null;
  const low = layer.excess && k === Number(layer.k) ? layer.excess[1] : null;
  return [k, ...[evr, norms, q95, isotropic, captured, random, low].map(number)];
}

function drawTable() {
  let n = 0;
  drawn.layers.forEach((layer, i) => {
    const shown = matches(layer);
    n += shown;
    if (rows[i].hidden === shown) rows[i].hidden = !shown;
    const texts = chosen.k || chosen.null !== usual
      ? cellsAt(layer, levelOf(layer)) : told[i].slice(FIRST, FIRST + 8);
    texts.forEach((text, column) => {
      const cell = rows[i].cells[FIRST + column];
      // What is the same is not written: the browser would lay it out anew.
      if (cell.textContent !== String(text)) cell.textContent = text;
    });
  });
  byId("matched").textContent = `${n} of ${drawn.layers.length}`;
}

const SORTS = ["descending", "ascending"];

function sortBy(header, column) {
  const next = SORTS[SORTS.indexOf(header.getAttribute("aria-sort")) + 1];
  for (const other of table.tHead.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
  if (next) header.setAttribute("aria-sort", next);
  const order = rows.map((row, i) => i);
  const sign = next === "ascending" ? 1 : -1;
  const text = (i) => rows[i].cells[column].textContent;
  if (next) order.sort((a, b) => sign * compared(text(a), text(b), sign) || a - b);
  table.tBodies[0].append(...order.map((i) => rows[i]));
}

// Numbers by size, what is not known last, words by the alphabet.
function compared(a, b, sign) {
  const [x, y] = [a, b].map((text) => (text === "–" ? NaN : Number(text.replaceAll(",", ""))));
  if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y;
  if (!Number.isNaN(x) || !Number.isNaN(y)) return sign * (Number.isNaN(x) ? 1 : -1);
  return -a.localeCompare(b, undefined, { numeric: true });
}

// One button a column; headers that span several have none.
function sortable() {
  const [top, below] = table.tHead.rows;
  const single = [...top.cells].filter((cell) => cell.colSpan === 1);
  [...single, ...below.cells].forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.textContent = header.textContent;
    button.addEventListener("click", () => sortBy(header, column));
    header.replaceChildren(button);
  });
}
