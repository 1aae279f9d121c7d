// What redraws what: controls hold the state, and each draws what it touches.

function fill(list, texts) {
  list.replaceChildren(...texts.map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  }));
}

function options(select, texts) {
  const before = select.selectedIndex;
  select.replaceChildren(...texts.map((text) => new Option(text)));
  select.selectedIndex = Math.max(0, before);
}

function drawLayer() {
  const index = pick.selectedIndex;
  const layer = drawn.layers[index];
  const side = layer.sides[chosen.axis];
  const verdict = chosen.axis ? side && side.verdict : layer.verdict;
  byId("verdict").textContent = verdict || "no verdict: the null was not drawn";
  byId("verdict").className = `badge v-${verdict || "too-few-models"}`;
  fill(byId("reasons"), chosen.axis ? (side ? side.reasons : []) : layer.reasons);
  drawCurves(layer);
  listFacts("facts", layer.facts);
  byId("earlier").disabled = next(index, -1) === null;
  byId("later").disabled = next(index, 1) === null;
}

// What stands for a layer whose map has no room.
const everyLayer = {
  members: drawn.models.map((_, i) => i), width: {}, spread: null,
  measures: [{
    key: "cosine", title: "Cosine, mean over layers", low: -1, codes: together.cosines,
    order: together.order, joins: together.joins,
  }],
};

function showMap() {
  const own = drawn.layers[pick.selectedIndex].map;
  const maps = own || everyLayer;
  byId("no-map").hidden = own !== null;
  options(byId("measure"), maps.measures.map((measure) => measure.title));
  show(maps, maps.members.map((member) => drawn.models[member]));
}

// The next layer of those that are shown; null where there is none.
function next(index, step) {
  for (let i = index + step; drawn.layers[i]; i += step) {
    if (matches(drawn.layers[i])) return i;
  }
  return null;
}

function choose(index) {
  pick.selectedIndex = index;
  explore();
}

function explore() {
  drawLayer();
  showMap();
  drawDepth();
}

function goTo(index) {
  choose(index);
  byId("explore").scrollIntoView();
  pick.focus({ preventScroll: true });
}

function followLink() {
  const found = /^#layer-(\d+)$/.exec(location.hash);
  if (found && drawn.layers[found[1]]) goTo(Number(found[1]));
}

function drawLayers() {
  drawTable();
  drawDepth();
  drawLayer();
}

function drawCheckpoints() {
  drawPlane();
  showMap();
}

function drawAll() {
  drawLayers();
  drawCheckpoints();
  drawModel();
}

const DRAWS = {
  match: drawLayers, only: drawLayers, k: drawLayers, null: drawLayers,
  members: drawCheckpoints, colours: drawCheckpoints,
  "depth-of": drawDepth, pick: explore, axis: drawLayer, energy: drawLayer,
  measure: showMap, order: showMap, range: showMap,
  model: () => chooseModel(shownModel.selectedIndex),
};

const nulls = [...new Set(drawn.layers.flatMap((layer) => Object.keys(layer.nulls)))];
const usual = nulls.includes("strength") ? "strength" : nulls[0] || "";

const widest = (key) => Math.max(0, ...groupsBy(key).map(([, members]) => members.length));

function reset() {
  for (const id of ["match", "only", "k", "members"]) byId(id).value = "";
  byId("null").value = usual;
  byId("colours").value = widest("start") > widest("group") ? "start" : "group";
  drawAll();
}

function start() {
  for (const part of document.querySelectorAll(".drawn, #controls, #explorer")) part.hidden = false;
  options(pick, drawn.layers.map((layer) => layer.name));
  options(shownModel, drawn.models.map((model) => model.name));
  options(byId("null"), nulls);
  byId("null-of").hidden = nulls.length < 2;
  byId("k").append(...drawn.levels.map((k) => new Option(k, k)));
  sortable();
  for (const [id, act] of Object.entries(DRAWS)) {
    byId(id).addEventListener(id === "match" ? "input" : "change", act);
  }
  const moves = [["earlier", -1], ["later", 1]];
  for (const [id, step] of moves) {
    byId(id).addEventListener("click", () => choose(next(pick.selectedIndex, step)));
    byId(`model-${id}`).addEventListener("click", () => chooseModel(shownModel.selectedIndex + step));
  }
  byId("reset").addEventListener("click", reset);
  for (const query of ["(prefers-color-scheme: dark)", "print"]) {
    matchMedia(query).addEventListener("change", drawAll);
  }
  addEventListener("resize", () => {
    drawDepth();
    drawCheckpoints();
    drawModel();
  });
  addEventListener("hashchange", followLink);
  reset();
  offerSaving();
  followLink();
}

if (drawn.layers.length) start();
document.documentElement.dataset.drawn = "true";
