// Aligned models: one metric at a time, its pairs, and what it goes with.

const drawn = JSON.parse(byId("drawn").textContent);
const picked = () => drawn.metrics[byId("metric") ? byId("metric").selectedIndex : 0];
const nameOf = (i) => drawn.models[i].name;

const COLUMNS = ["value", "null_mean", "null_high", "excess", "p", "p_adjusted"];

// The pairs of a metric by place; of one without a direction both ways.
function lookup(metric) {
  const n = drawn.models.length;
  const found = new Map();
  for (const [a, b, ...rest] of metric.pairs) {
    const pair = { a, b, layers: rest.slice(COLUMNS.length) };
    COLUMNS.forEach((name, i) => { pair[name] = rest[i]; });
    found.set(a * n + b, pair);
  }
  return (i, j) => found.get(i * n + j) || found.get(j * n + i);
}

// How each of the numbers is coloured: what is unremarkable has no colour.
const SHOWN = {
  value: (pairs) => around(pairs, "value", mean(pairs, "null_mean"), "permuted"),
  excess: (pairs) => around(pairs, "excess", 0, "permuted"),
  p: (pairs) => small(pairs, "p"),
  p_adjusted: (pairs) => small(pairs, "p_adjusted"),
};

const mean = (pairs, key) => pairs.reduce((sum, pair) => sum + pair[key], 0) / pairs.length;

function around(pairs, key, middle, name) {
  const reach = Math.max(...pairs.map((pair) => Math.abs(pair[key] - middle))) || 1;
  const colour = colours(-reach, reach);
  return {
    of: (pair) => pair[key], mark: middle, name, told: short,
    low: Math.min(middle, ...pairs.map((pair) => pair[key])), high: middle + reach,
    colour: (value) => colour(value === null ? null : value - middle),
  };
}

function small(pairs, key) {
  const size = (p) => -Math.log10(p);
  const high = Math.max(2, ...pairs.map((pair) => size(pair[key])));
  return {
    of: (pair) => size(pair[key]), low: 0, high, mark: size(0.05), name: "p =",
    told: (value) => short(10 ** -value), colour: colours(0, high),
  };
}

function drawMap() {
  const metric = picked();
  byId("mapped").hidden = drawn.models.length < 3 || !metric.pairs;
  byId("no-map").hidden = drawn.models.length < 3 || Boolean(metric.pairs);
  if (byId("mapped").hidden) return;
  const at = lookup(metric);
  const pairs = metric.pairs.map(([a, b]) => at(a, b));
  const scaled = SHOWN[byId("shown").value](pairs);
  const order = byId("order").value === "clustered" ? metric.order : drawn.models.map((_, i) => i);
  const value = (i, j) => (i === j ? null : scaled.of(at(i, j)));
  Object.assign(view, {
    names: drawn.models, order, n: order.length, value, colour: scaled.colour, low: scaled.low,
    high: scaled.high, chance: () => scaled.mark, tone: () => null,
    fitted: false, tree: treeOf(metric, pairs),
    told: (i, j) => textsOf(metric, at(i, j)), over: (pen) => writeValues(pen, scaled.told),
  });
  view.picture = pixels();
  paint();
  showTree();
  if (view.visited) say();
  drawScale([[0, 0, 1]], scaled.name, scaled.told);
  map.dataset.ready = "true";
}

// That of the values, whatever the cells show.
function treeOf(metric, pairs) {
  if (!metric.joins || byId("order").value !== "clustered") return null;
  return { joins: metric.joins, title: metric.name, chance: mean(pairs, "null_mean"), name: "permuted" };
}

function textsOf(metric, pair) {
  const { value, null_mean, null_high, excess, p, p_adjusted, layers } = pair;
  const texts = [
    `${metric.name} ${short(value)}`, `permuted ${short(null_mean)}, at most ${short(null_high)}`,
    `excess ${short(excess)}`, `p ${short(p)}${p_adjusted === null ? "" : `, adjusted ${short(p_adjusted)}`}`,
  ];
  const names = [pair.a, pair.b].map((model, i) => drawn.models[model].layers[layers[i]]);
  if ([pair.a, pair.b].some((model) => drawn.models[model].layers.length > 1)) {
    texts.push(`layers ${names[0]} of ${nameOf(pair.a)}, ${names[1]} of ${nameOf(pair.b)}`);
  }
  return texts;
}

// Numbers in the cells, where they fit.
function writeValues(pen, told) {
  if (view.cell < 36) return;
  pen.font = `${Math.min(13, view.cell * 0.3)}px ${style("--sans")}`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  view.order.forEach((i, r) => view.order.forEach((j, c) => {
    if (i === j) return;
    const [red, green, blue] = view.colour(view.value(i, j));
    pen.fillStyle = red * 0.299 + green * 0.587 + blue * 0.114 > 140 ? "#1b2126" : "#ffffff";
    pen.fillText(told(view.value(i, j)), view.left + (c + 0.5) * view.cell, (r + 0.5) * view.cell);
  }));
}

function drawTable() {
  if (!byId("metric")) return;
  for (const row of document.querySelectorAll("[data-metric]")) {
    row.hidden = drawn.metrics[row.dataset.metric] !== picked();
  }
}

// A scatter of points [x, y, text, label] with axes around all of them.
function scatter(svg, points, spec, under = () => {}) {
  const box = fit(svg, 380);
  const room = (values) => {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const more = 0.08 * (high - low) || Math.abs(low) * 0.1 || 1;
    return [low - more, high + more];
  };
  const x = room(points.map((point) => point[0]));
  const y = room([0, ...points.map((point) => point[1]), ...spec.also]);
  const xticks = ticks(...x, 6).map((v) => Number(v.toPrecision(6)));
  const at = axes(svg, { ...spec, x, y, xticks }, box);
  rule(svg, box, at.y(0), "isotropic", "permuted");
  under(at);
  const placed = points.map(([a, b, text, label]) => ({ x: at.x(a), y: at.y(b), text, label }));
  for (const point of placed) draw(svg, "circle", { class: spec.kind, cx: point.x, cy: point.y, r: 4 });
  writeLabels(svg, placed, box);
  return placed.sort((a, b) => a.x - b.x);
}

const SIDES = [
  [8, 4, "start"], [-8, 4, "end"], [0, -9, "middle"], [0, 17, "middle"],
  [-6, -8, "end"], [6, -8, "start"], [-6, 16, "end"], [6, 16, "start"],
];

// Beside each point its name, where that covers neither a point nor a name.
function writeLabels(svg, points, box) {
  const taken = points.map((p) => [p.x - 5, p.y - 5, p.x + 5, p.y + 5]);
  for (const point of points.filter((p) => p.label)) {
    for (const [dx, dy, anchor] of SIDES) {
      const text = draw(svg, "text", {
        class: "label", x: point.x + dx, y: point.y + dy, "text-anchor": anchor,
      }, point.label);
      const { x, y, width, height } = text.getBBox();
      const own = [x, y, x + width, y + height];
      const meets = (other) => own[0] < other[2] && own[2] > other[0] && own[1] < other[3] && own[3] > other[1];
      if (x > box.left && x + width < box.right && !taken.some(meets)) {
        taken.push(own);
        break;
      }
      text.remove();
    }
  }
}

const plots = { scored: [], weighed: [] };

function drawScore() {
  const svg = byId("scored");
  if (!svg) return;
  const { points, slope, intercept, band, text } = picked().score;
  const shown = points.map(([i, score, alignment]) => [
    score, alignment, `${nameOf(i)}: score ${told(score)}, alignment ${short(alignment)}`, nameOf(i),
  ]);
  plots.scored = scatter(svg, shown, {
    kind: "dot", xlabel: "score", ylabel: "alignment: mean excess over the other models",
    also: band.flatMap(([, low, high]) => [low, high]),
  }, (at) => {
    const edge = [...band.map(([s, low]) => [s, low]), ...band.map(([s, , high]) => [s, high]).reverse()];
    const outline = edge.map(([a, b]) => `${at.x(a).toFixed(1)},${at.y(b).toFixed(1)}`);
    draw(svg, "polygon", { class: "around", points: outline.join(" ") });
    const ends = [band[0][0], band.at(-1)[0]];
    line(svg, at, ends.map((s) => [s, intercept + slope * s]), "observed");
  });
  byId("scored-caption").textContent = `${text}. The line is that of least squares; in its band lie`
    + " 95\u00a0% of the lines of resampled models, at each score by itself.";
}

// A score may be of any size: six digits tell it.
const told = (value) => String(Number(value.toPrecision(6)));

function drawWeights() {
  const svg = byId("weighed");
  if (!svg) return;
  const weights = picked().weights;
  byId("no-weighed").hidden = weights !== null;
  svg.parentElement.hidden = weights === null;
  if (weights === null) return;
  const shown = weights.points.map(([a, b, overlap, alignment]) => [
    overlap, alignment, `${nameOf(a)}, ${nameOf(b)}: overlap ${short(overlap)}, alignment ${short(alignment)}`,
  ]);
  plots.weighed = scatter(svg, shown, {
    kind: "pair", xlabel: "overlap of weights: their cosine", ylabel: "alignment: excess", also: [],
  });
  byId("weighed-caption").textContent = `${weights.text}. Each point is a pair of models.`;
}

// By the mouse what lies nearest, by the arrow keys one after another.
function telling(id) {
  const svg = byId(id);
  if (!svg) return;
  let at = -1;
  const tell = (point) => {
    at = plots[id].indexOf(point);
    for (const old of svg.querySelectorAll(".ring")) old.remove();
    byId(`${id}-told`).textContent = point ? point.text : "";
    if (point) draw(svg, "circle", { class: "ring", cx: point.x, cy: point.y, r: 8 });
  };
  svg.addEventListener("pointermove", (event) => tell(nearest(svg, event, plots[id])));
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    tell(plots[id][Math.min(plots[id].length - 1, Math.max(0, at + step))]);
  });
}

function drawAll() {
  drawTable();
  drawMap();
  drawScore();
  drawWeights();
}

for (const part of document.querySelectorAll(".drawn")) part.hidden = false;
if (byId("metric")) byId("metric").addEventListener("change", drawAll);
for (const id of ["shown", "order"]) byId(id).addEventListener("change", drawMap);
for (const id of ["scored", "weighed"]) telling(id);
for (const query of ["(prefers-color-scheme: dark)", "print"]) {
  matchMedia(query).addEventListener("change", drawAll);
}
addEventListener("resize", drawAll);
drawAll();
offerSaving();
document.documentElement.dataset.drawn = "true";
