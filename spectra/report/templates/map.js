// The map of pairs: a canvas with one cell a pair, and words for each.

const UNDEFINED = 65535;
const map = byId("map");
const view = { order: [], row: 0, col: 1, cell: 0, left: 0, visited: false };

const style = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();
const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

// Look up value(i, j) in a packed upper triangle; null where undefined.
function unpack(measure, n) {
  const bytes = Uint8Array.from(atob(measure.codes), (c) => c.charCodeAt(0));
  const codes = new DataView(bytes.buffer);
  return (i, j) => {
    if (i === j) return 1;
    const [a, b] = i < j ? [i, j] : [j, i];
    const code = codes.getUint16(2 * (a * n - (a * (a + 1)) / 2 + b - a - 1), true);
    if (code === UNDEFINED) return null;
    return measure.low + (code / (UNDEFINED - 1)) * (1 - measure.low);
  };
}

function everyPair(n, value) {
  const found = [];
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) {
      if (value(i, j) !== null) found.push([value(i, j), i, j]);
    }
  }
  return found;
}

// Chance level of one pair, or of all on average.
function chanceOf(maps, key) {
  const width = maps.width[key];
  if (!width) return () => 0;
  return (i, j) => Math.max(maps.ranks[i], maps.ranks[j]) / width;
}

function colours(low, high) {
  const kind = low < 0 ? "--d" : "--s";
  const stops = [0, 1, 2, 3, 4].map((i) => rgb(style(kind + i)));
  const missing = rgb(style("--undefined"));
  return (value) => {
    if (value === null) return missing;
    const t = Math.min(1, Math.max(0, (value - low) / (high - low))) * 4;
    const k = Math.min(3, Math.floor(t));
    return stops[k].map((v, c) => Math.round(v + (stops[k + 1][c] - v) * (t - k)));
  };
}

function show(maps, names) {
  const measure = maps.measures[byId("measure").selectedIndex];
  const n = maps.members.length;
  const value = unpack(measure, n);
  const pairs = everyPair(n, value).sort((a, b) => b[0] - a[0]);
  const chance = chanceOf(maps, measure.key);
  let bound = 1;
  if (byId("range").value === "fitted" && pairs.length) {
    bound = Math.max(...[pairs[0], pairs.at(-1)].map(([v]) => Math.abs(v))) || 1;
  }
  const low = measure.low < 0 ? -bound : 0;
  Object.assign(view, { maps, names, measure, n, value, chance, low, high: bound });
  view.colour = colours(low, bound);
  view.order = byId("order").value === "clustered" ? measure.order : [...Array(n).keys()];
  view.row = Math.min(view.row, n - 1);
  view.col = Math.min(view.col, n - 1);
  view.picture = pixels();
  paint();
  if (view.visited) say();
  drawScale(pairs);
  listClosest(pairs.slice(0, 8));
  map.dataset.ready = "true";
}

function pixels() {
  const { n, order, value, colour } = view;
  const image = new ImageData(n, n);
  for (let r = 0; r < n; r++) {
    for (let c = 0; c < n; c++) {
      image.data.set([...colour(value(order[r], order[c])), 255], 4 * (r * n + c));
    }
  }
  const small = document.createElement("canvas");
  small.width = small.height = n;
  small.getContext("2d").putImageData(image, 0, 0);
  return small;
}

function paint() {
  const width = map.clientWidth;
  const named = width > 480 && (width * 0.75) / view.n > 9.5;
  const ratio = window.devicePixelRatio || 1;
  view.left = named ? Math.min(180, width * 0.25) : 0;
  view.cell = (width - view.left) / view.n;
  map.width = width * ratio;
  map.height = (width - view.left) * ratio;
  const pen = map.getContext("2d");
  pen.scale(ratio, ratio);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(view.picture, view.left, 0, width - view.left, width - view.left);
  if (named) writeNames(pen);
  frame(pen);
}

function writeNames(pen) {
  pen.font = `${Math.min(12, view.cell * 0.8)}px ${style("--mono")}`;
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  view.order.forEach((member, r) => {
    pen.fillStyle = style(r === view.row || r === view.col ? "--ink" : "--muted");
    pen.fillText(fitted(pen, view.names[member].name), view.left - 8, (r + 0.5) * view.cell);
  });
}

// The end of a name tells it from its neighbours.
function fitted(pen, name) {
  let text = name;
  while (text.length > 3 && pen.measureText(text).width > view.left - 12) {
    text = "…" + text.slice(2);
  }
  return text;
}

function frame(pen) {
  const side = Math.max(view.cell, 4);
  pen.lineWidth = 2;
  pen.strokeStyle = style("--second");
  pen.strokeRect(view.left + view.col * view.cell, view.row * view.cell, side, side);
}

function say() {
  const [i, j] = [view.order[view.row], view.order[view.col]];
  const [a, b] = [view.names[i], view.names[j]];
  const value = view.value(i, j);
  const lines = [`${a.name}\n${b.name}`];
  if (i === j) {
    lines[0] = `${a.name} with itself`;
  } else if (value === null) {
    lines.push("not defined: one of the two is zero here");
  } else {
    lines.push(`${view.measure.title} ${short(value)}`, chanceText(i, j));
    if (a.group !== null && a.group === b.group) lines.push("same lineage group");
  }
  byId("readout").textContent = lines.join("\n");
}

function chanceText(i, j) {
  const chance = view.chance(i, j);
  if (view.measure.low < 0) return `chance 0 ± ${short(view.maps.spread)}`;
  return `chance ${short(chance)}, so ${short(view.value(i, j) / chance)} times chance`;
}

function drawScale(pairs) {
  const svg = byId("scale");
  svg.replaceChildren();
  const at = (v) => ((v - view.low) / (view.high - view.low)) * 560;
  for (let i = 0; i < 112; i++) {
    const value = view.low + ((i + 0.5) / 112) * (view.high - view.low);
    draw(svg, "rect", { x: i * 5, y: 0, width: 5.3, height: 12, fill: `rgb(${view.colour(value)})` });
  }
  draw(svg, "text", { x: 0, y: 40 }, short(view.low));
  draw(svg, "text", { x: 560, y: 40, "text-anchor": "end" }, short(view.high));
  const mean = pairs.reduce((sum, [, i, j]) => sum + view.chance(i, j), 0) / (pairs.length || 1);
  const x = at(mean);
  draw(svg, "path", { d: `M${x},13 l5,9 h-10 z`, fill: style("--ink") });
  const beside = x > 480 ? [x - 9, "end"] : [x + 9, "start"];
  draw(svg, "text", { x: beside[0], y: 24, "text-anchor": beside[1] }, `chance ${short(mean)}`);
}

function listClosest(pairs) {
  const rows = pairs.map(([value, i, j]) => {
    const row = document.createElement("tr");
    const cells = [view.names[i].name, view.names[j].name, short(value)];
    cells.forEach((text, index) => {
      const cell = document.createElement("td");
      cell.textContent = text;
      cell.className = index === 2 ? "n" : "code";
      row.append(cell);
    });
    return row;
  });
  byId("closest").replaceChildren(...rows);
}

const STEPS = {
  ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
};

function moveTo(row, col) {
  const inside = (v) => Math.min(view.n - 1, Math.max(0, v));
  [view.row, view.col, view.visited] = [inside(row), inside(col), true];
  paint();
  say();
}

map.addEventListener("keydown", (event) => {
  const step = STEPS[event.key];
  if (!step) return;
  event.preventDefault();
  moveTo(view.row + step[0], view.col + step[1]);
});

map.addEventListener("pointermove", (event) => {
  const edge = map.getBoundingClientRect();
  const row = Math.floor((event.clientY - edge.top) / view.cell);
  const col = Math.floor((event.clientX - edge.left - view.left) / view.cell);
  if (col < 0 || (row === view.row && col === view.col)) return;
  moveTo(row, col);
});
