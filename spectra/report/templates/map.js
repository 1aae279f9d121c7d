// The map of pairs: a canvas with one cell a pair, and words for each.

const UNDEFINED = 65535;
const STRIPE = 14;
const SHADES = 1024;
const map = byId("map");
const view = { order: [], row: 0, col: 1, cell: 0, left: 0, visited: false };

const style = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();
const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

// Look up packed values by their place; null where undefined.
function decode(text, low) {
  const found = atob(text);
  const bytes = new Uint8Array(found.length);
  for (let i = 0; i < found.length; i++) bytes[i] = found.charCodeAt(i);
  const codes = new DataView(bytes.buffer);
  return (at) => {
    const code = codes.getUint16(2 * at, true);
    return code === UNDEFINED ? null : low + (code / (UNDEFINED - 1)) * (1 - low);
  };
}

// Look up value(i, j) in a packed upper triangle.
function unpack(measure, n) {
  const value = decode(measure.codes, measure.low);
  return (i, j) => {
    if (i === j) return 1;
    const [a, b] = i < j ? [i, j] : [j, i];
    return value(a * n - (a * (a + 1)) / 2 + b - a - 1);
  };
}

function everyPair(members, value) {
  const found = [];
  const listed = [...members].sort((a, b) => a - b);
  listed.forEach((i, at) => {
    for (const j of listed.slice(at + 1)) {
      if (value(i, j) !== null) found.push([value(i, j), i, j]);
    }
  });
  return found;
}

// The largest few, without all the others being put in order.
function largest(pairs, count) {
  const best = [];
  for (const pair of pairs) {
    if (best.length === count && pair[0] <= best[count - 1][0]) continue;
    best.push(pair);
    best.sort((a, b) => b[0] - a[0]);
    best.length = Math.min(best.length, count);
  }
  return best;
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
  const mixed = Array.from({ length: SHADES + 1 }, (_, step) => {
    const at = (4 * step) / SHADES;
    const k = Math.min(3, Math.floor(at));
    return stops[k].map((v, c) => Math.round(v + (stops[k + 1][c] - v) * (at - k)));
  });
  return (value) => {
    if (value === null) return missing;
    const t = Math.min(1, Math.max(0, (value - low) / (high - low)));
    return mixed[Math.round(SHADES * t)];
  };
}

function show(maps, names) {
  const measure = maps.measures[byId("measure").selectedIndex];
  const value = unpack(measure, maps.members.length);
  const stays = kept();
  const listed = byId("order").value === "clustered" ? measure.order : maps.members.map((_, i) => i);
  const keeps = listed.map((i) => stays[maps.members[i]]);
  const order = listed.filter((_, at) => keeps[at]);
  const n = order.length;
  const pairs = everyPair(order, value);
  const chance = chanceOf(maps, measure.key);
  let bound = 1;
  if (byId("range").value === "fitted" && pairs.length) {
    bound = pairs.reduce((most, [v]) => Math.max(most, Math.abs(v)), 0) || 1;
  }
  const low = measure.low < 0 ? -bound : 0;
  Object.assign(view, { maps, names, measure, n, value, chance, low, high: bound });
  view.fitted = byId("range").value === "fitted";
  view.colour = colours(low, bound);
  view.order = order;
  const tone = tones(chosen.colours);
  view.tone = (i) => tone[maps.members[i]];
  view.told = pairTexts;
  view.tree = null;
  if (listed === measure.order && n > 1) {
    const joins = joinsOf(decode(measure.joins, measure.low), keeps);
    view.tree = { joins, title: measure.title, chance: meanChance(pairs), name: "chance" };
  }
  view.row = Math.min(view.row, n - 1);
  view.col = Math.min(view.col, n - 1);
  view.picture = pixels();
  paint();
  showTree();
  if (view.visited) say();
  drawScale(pairs);
  listRows("closest", largest(pairs, 8).map(([v, i, j]) => [names[i].name, names[j].name, number(v)]));
  listGroups(byId("map-groups"));
  map.dataset.ready = "true";
}

function pixels() {
  const { n, order, value, colour } = view;
  const image = new ImageData(n, n);
  let at = 0;
  for (const i of order) {
    for (const j of order) {
      [image.data[at], image.data[at + 1], image.data[at + 2]] = colour(value(i, j));
      image.data[at + 3] = 255;
      at += 4;
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
  view.names_end = named ? Math.min(180, width * 0.25) : view.tree ? AXIS : 0;
  view.left = view.names_end + STRIPE;
  view.cell = (width - view.left) / view.n;
  map.width = width * ratio;
  map.height = (width - view.left) * ratio;
  const pen = map.getContext("2d");
  pen.scale(ratio, ratio);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(view.picture, view.left, 0, width - view.left, width - view.left);
  view.order.forEach((member, r) => {
    if (view.tone(member) === null) return;
    pen.fillStyle = style(`--g${view.tone(member)}`);
    pen.fillRect(view.names_end, r * view.cell, STRIPE - 3, view.cell + 0.5);
  });
  if (named) writeNames(pen);
  if (view.over) view.over(pen);
  frame(pen);
}

function writeNames(pen) {
  pen.font = `${Math.min(12, view.cell * 0.8)}px ${style("--mono")}`;
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  view.order.forEach((member, r) => {
    pen.fillStyle = style(r === view.row || r === view.col ? "--ink" : "--muted");
    pen.fillText(fitted(pen, view.names[member].name), view.names_end - 8, (r + 0.5) * view.cell);
  });
}

// The end of a name tells it from its neighbours.
function fitted(pen, name) {
  let text = name;
  while (text.length > 3 && pen.measureText(text).width > view.names_end - 12) {
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
    lines.push(...view.told(i, j));
  }
  byId("readout").textContent = lines.join("\n");
}

function pairTexts(i, j) {
  const lines = [`${view.measure.title} ${short(view.value(i, j))}`, chanceText(i, j)];
  const related = relation(view.names[i], view.names[j]);
  return related === "–" ? lines : [...lines, related];
}

function chanceText(i, j) {
  const chance = view.chance(i, j);
  if (view.measure.low < 0) return `chance 0${view.maps.spread === null ? "" : ` ± ${short(view.maps.spread)}`}`;
  return `chance ${short(chance)}, so ${short(view.value(i, j) / chance)} times chance`;
}

const meanChance = (pairs) => pairs.reduce((sum, [, i, j]) => sum + view.chance(i, j), 0) / (pairs.length || 1);

function drawScale(pairs, name = "chance", told = short) {
  const svg = byId("scale");
  svg.replaceChildren();
  view.scale = { mean: meanChance(pairs), name, told };
  svg.setAttribute("viewBox", `0 0 ${svg.clientWidth} 44`);
  paintScale(svg, svg.clientWidth);
}

function paintScale(svg, width) {
  const { mean, name, told } = view.scale;
  const at = (v) => ((v - view.low) / (view.high - view.low)) * width;
  const step = width / 112;
  for (let i = 0; i < 112; i++) {
    const value = view.low + ((i + 0.5) / 112) * (view.high - view.low);
    draw(svg, "rect", {
      x: i * step, y: 0, width: step + 0.3, height: 12, fill: `rgb(${view.colour(value)})`,
      "shape-rendering": "crispEdges",
    });
  }
  draw(svg, "text", { x: 0, y: 40 }, told(view.low));
  draw(svg, "text", { x: width, y: 40, "text-anchor": "end" }, told(view.high));
  const x = at(mean);
  draw(svg, "path", { d: `M${x},13 l5,9 h-10 z`, fill: style("--ink") });
  const beside = x > width - 110 ? [x - 9, "end"] : [x + 9, "start"];
  draw(svg, "text", { x: beside[0], y: 24, "text-anchor": beside[1] }, `${name} ${told(mean)}`);
}

// The map as it stands, with names: what is saved.
function mapAsSvg() {
  const { n, order, names, picture } = view;
  const [cell, gutter] = [Math.max(2, Math.min(24, 720 / n)), 220];
  const size = Math.min(11, 0.8 * cell);
  const [side, above] = [cell * n, view.tree ? TREE.height : 0];
  const svg = document.createElementNS(SVG, "svg");
  const wide = Math.max(side, 320);
  svg.setAttribute("viewBox", `0 ${-above} ${gutter + wide + 8} ${above + side + 60}`);
  if (view.tree) drawTree(draw(svg, "g", { transform: `translate(0,${-above})` }), gutter, cell);
  draw(svg, "image", {
    x: gutter, y: 0, width: side, height: side, href: picture.toDataURL(),
    "image-rendering": "pixelated",
  });
  order.forEach((member, r) => {
    const tone = view.tone(member);
    if (tone !== null) {
      draw(svg, "rect", {
        x: gutter - STRIPE, y: r * cell, width: STRIPE - 3, height: cell, fill: style(`--g${tone}`),
      });
    }
    if (cell < 5) return;
    draw(svg, "text", {
      x: gutter - STRIPE - 6, y: (r + 0.5) * cell + 0.35 * size, "text-anchor": "end", "font-size": size,
      "font-family": "monospace", fill: style("--muted"),
    }, names[member].name.replace(/^..+(?=.{33}$)/su, "…"));
  });
  const legendBox = draw(svg, "g", { transform: `translate(${gutter},${side + 12})`, fill: style("--muted") });
  paintScale(legendBox, wide);
  for (const text of legendBox.querySelectorAll("text")) {
    text.setAttribute("font-family", "sans-serif");
    text.setAttribute("font-size", 11);
  }
  return svg;
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
