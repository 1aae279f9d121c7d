// One layer at a time: its curves, its facts and its map.

const drawn = JSON.parse(byId("drawn").textContent);
const pick = byId("pick");

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

function listFacts(facts) {
  byId("facts").replaceChildren(...facts.map(([label, text]) => {
    const [box, name, value] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
    name.textContent = label;
    value.textContent = text;
    box.append(name, value);
    return box;
  }));
}

function explore() {
  const index = pick.selectedIndex;
  const layer = drawn.layers[index];
  byId("verdict").textContent = layer.verdict;
  byId("verdict").className = `badge v-${layer.verdict}`;
  fill(byId("reasons"), layer.reasons);
  drawSpectrum(byId("spectrum"), layer);
  drawTop(byId("top"), layer);
  drawHeldOut(byId("held-out"), layer);
  ["spectrum", "top", "held-out"].forEach((id, i) => {
    byId(`${id}-caption`).textContent = layer.captions[i];
  });
  listFacts(layer.facts);
  byId("earlier").disabled = index === 0;
  byId("later").disabled = index === drawn.layers.length - 1;
  const mapped = layer.map !== null && layer.map.members.length > 1;
  byId("pairs").hidden = !mapped;
  byId("no-map").hidden = mapped;
  if (mapped) showMap();
}

function showMap() {
  const maps = drawn.layers[pick.selectedIndex].map;
  options(byId("measure"), maps.measures.map((measure) => measure.title));
  show(maps, maps.members.map((member) => drawn.models[member]));
}

function choose(index) {
  pick.selectedIndex = index;
  explore();
}

function followLink() {
  const found = /^#layer-(\d+)$/.exec(location.hash);
  if (!found || !drawn.layers[found[1]]) return;
  choose(Number(found[1]));
  byId("explore").scrollIntoView();
  pick.focus({ preventScroll: true });
}

if (drawn.layers.length) {
  byId("explorer").hidden = false;
  options(pick, drawn.layers.map((layer) => layer.name));
  pick.addEventListener("change", explore);
  byId("earlier").addEventListener("click", () => choose(pick.selectedIndex - 1));
  byId("later").addEventListener("click", () => choose(pick.selectedIndex + 1));
  for (const id of ["measure", "order", "range"]) {
    byId(id).addEventListener("change", showMap);
  }
  for (const query of ["(prefers-color-scheme: dark)", "print"]) {
    matchMedia(query).addEventListener("change", () => !byId("pairs").hidden && showMap());
  }
  addEventListener("resize", () => !byId("pairs").hidden && paint());
  addEventListener("hashchange", followLink);
  explore();
  followLink();
}
document.documentElement.dataset.drawn = "true";
