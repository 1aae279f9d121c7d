// Checkpoints beside one another, and one of them by itself.

const together = drawn.together;
const atLayer = decode(together.by_layer, -1);
const meanCosine = unpack({ codes: together.cosines, low: -1 }, drawn.models.length);
const shownModel = byId("model");
const flat = { points: [] };

// Undefined where nothing is known.
function median(values) {
  const sorted = values.filter((v) => v !== null).sort((a, b) => a - b);
  const half = sorted.length / 2;
  return sorted.length % 2 ? sorted[Math.floor(half)] : half ? (sorted[half - 1] + sorted[half]) / 2 : undefined;
}

const toOthers = (layer, model) => atLayer(layer * drawn.models.length + model);

function drawPlane() {
  const svg = byId("plane");
  listGroups(byId("groups"));
  if (!together.places) {
    nothing(svg, "Too few checkpoints have layers in common.");
    byId("plane-caption").textContent = "";
    return;
  }
  const box = fit(svg, 420);
  const stays = kept();
  const tone = tones(chosen.colours);
  const placed = together.places.map((place, i) => ({ i, place })).filter(({ place }) => place);
  // One scale for both axes: distances mean the same in every direction.
  const reach = [0, 1].map((c) => placed.map(({ place }) => place[c]));
  const [width, height] = [box.right - box.left, box.bottom - box.top];
  const spans = reach.map((v) => Math.max(...v) - Math.min(...v) || 1);
  const unit = 1.1 * Math.max(spans[0] / width, spans[1] / height);
  const domain = (c, size) => {
    const middle = (Math.max(...reach[c]) + Math.min(...reach[c])) / 2;
    return [middle - (unit * size) / 2, middle + (unit * size) / 2];
  };
  const percent = together.share.map((v) => `${(100 * v).toFixed(0)}\u00a0%`);
  const at = axes(svg, {
    x: domain(0, width), y: domain(1, height), xticks: ticks(...domain(0, width), 5).map(short),
    xlabel: `first axis, ${percent[0]} of the squared distances`, ylabel: `second axis, ${percent[1]}`,
  }, box);
  flat.points = [];
  for (const { i, place } of placed) {
    if (!stays[i]) continue;
    const point = { i, x: at.x(place[0]), y: at.y(place[1]) };
    flat.points.push(point);
    if (tone[i] === null) draw(svg, "circle", { class: "alone", cx: point.x, cy: point.y, r: 3.5 });
    else mark(svg, tone[i], point.x, point.y, 4.5);
  }
  const ringed = flat.points.find((p) => p.i === shownModel.selectedIndex);
  if (ringed) draw(svg, "circle", { class: "ring", cx: ringed.x, cy: ringed.y, r: 10 });
  const both = (100 * (together.share[0] + together.share[1])).toFixed(0);
  const chance = (100 * together.chance).toFixed(1);
  byId("plane-caption").textContent = "Classical scaling: near is alike. The two axes hold"
    + ` ${both}\u00a0% of the squared distances, and would hold ${chance}\u00a0% of members that are all`
    + ` equally far apart: what is not in them is not seen here. Hollow: alone in its ${GROUP[chosen.colours]}.`;
}

function tellPlane(event) {
  const point = nearest(byId("plane"), event, flat.points);
  byId("plane-told").textContent = point ? drawn.models[point.i].name : "";
  return point;
}

function listFacts(id, facts) {
  byId(id).replaceChildren(...facts.map(([label, text]) => {
    const [box, name, value] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
    name.textContent = label;
    value.textContent = text;
    box.append(name, value);
    return box;
  }));
}

function listRows(id, texts) {
  byId(id).replaceChildren(...texts.map((cells) => {
    const row = document.createElement("tr");
    cells.forEach((text, index) => {
      const cell = document.createElement("td");
      cell.textContent = text;
      cell.className = index === cells.length - 1 ? "n" : "code";
      row.append(cell);
    });
    return row;
  }));
}

const orNone = (value, none) => (value === null ? none : value);

function groupText(key, model) {
  if (model[key] === null) return "not compared";
  const members = drawn.models.filter((other) => other[key] === model[key]).length;
  return members === 1 ? `${model[key]}, alone` : `${model[key]}, ${members} checkpoints`;
}

function relation(a, b) {
  const same = Object.keys(GROUP).filter((key) => a[key] !== null && a[key] === b[key]);
  return same.map((key) => `same ${GROUP[key]}`).join(", ") || "–";
}

function drawModel() {
  const i = shownModel.selectedIndex;
  const model = drawn.models[i];
  const n = drawn.models.length;
  const held = drawn.layers.map((_, l) => toOthers(l, i));
  const n_layers = held.filter((v) => v !== null).length;
  const middle = median(drawn.models.map((other) => other.norm));
  byId("model-name").textContent = model.name;
  listFacts("model-facts", [
    ["Layers compared", `${n_layers} of ${drawn.layers.length}`],
    ["Norm", model.norm === null ? "–" : `${number(model.norm)} (median ${number(middle)})`],
    ["Lineage group", groupText("group", model)],
    ["Random start", groupText("start", model)],
    ["Revision", orNone(model.revision, "local files")],
    ["Licence", orNone(model.license, "not given")],
    ...(model.copy_of === null ? [] : [["Exact copy of", model.copy_of]]),
  ]);
  const pairs = drawn.models.map((_, j) => [j === i ? null : meanCosine(i, j), j]);
  listRows("nearest", largest(pairs.filter(([v]) => v !== null), 8).map(([v, j]) => [
    drawn.models[j].name, relation(model, drawn.models[j]), number(v),
  ]));
  fill(byId("model-aside"), asideTexts(model));
  drawByLayer(held);
  byId("model-earlier").disabled = i === 0;
  byId("model-later").disabled = i === n - 1;
}

function asideTexts(model) {
  const texts = model.aside.map(([layer, code, detail]) => `${layer === null ? "all layers" : layer}: ${code}, ${detail}`);
  const more = model.n_aside - model.aside.length;
  return more ? [...texts, `${more} more`] : texts;
}

function drawByLayer(held) {
  const svg = byId("by-layer");
  const own = held.map((v, l) => [l + 1, v]).filter(([, v]) => v !== null);
  if (!own.length) {
    nothing(svg, "no layer is compared");
    byId("by-layer-caption").textContent = "No layer of it was compared with another checkpoint's.";
    return;
  }
  const typical = together.typical.map((v, l) => [l + 1, v]).filter(([, v]) => v !== null);
  const values = [...own, ...typical].map(([, v]) => v);
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  const room = 0.1 * (high - low) || 0.1;
  const box = fit(svg, 190);
  const at = axes(svg, {
    x: [0.5, drawn.layers.length + 0.5], y: [low - room, high + room],
    xlabel: "layer, in the order of the table", ylabel: "mean cosine with the others",
  }, box);
  rule(svg, box, at.y(0), "isotropic", "");
  line(svg, at, typical, "random");
  line(svg, at, own, "observed");
  if (own.length <= 60) dots(svg, at, own, "dot", 2.5);
  legend(svg, [["observed", "this checkpoint"], ["random", "median of all"]]);
  byId("by-layer-caption").textContent = "The mean of its cosines with all others, in each layer."
    + " Unrelated updates have 0; whole weights have their start in common.";
}

function chooseModel(index) {
  shownModel.selectedIndex = index;
  drawPlane();
  drawModel();
}

byId("plane").addEventListener("pointermove", tellPlane);
byId("plane").addEventListener("click", (event) => {
  const point = tellPlane(event);
  if (point) chooseModel(point.i);
});
