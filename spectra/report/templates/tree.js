// The tree above the map, where that is in its order: what joins what, and how high.

// The values at which each of those that are left joins the next of them.
function joinsOf(value, keeps) {
  const found = [];
  let least = null;
  keeps.forEach((stays, at) => {
    if (least !== null) least = Math.min(least, value(at - 1));
    if (!stays) return;
    if (least !== null) found.push(least);
    least = Infinity;
  });
  return found;
}

// Each join as [x, y, x, y of its two branches, its own height]; leaf i is at i + 1/2, 0.
function elbows(heights) {
  const left = [...heights, 0].map((_, i) => ({ x: i + 0.5, y: 0, first: i, last: i }));
  const right = [...left];
  return heights.map((_, gap) => gap).sort((a, b) => heights[a] - heights[b]).map((gap) => {
    const [a, b, y] = [right[gap], left[gap + 1], heights[gap]];
    left[a.first] = right[b.last] = { x: (a.x + b.x) / 2, y, first: a.first, last: b.last };
    return [a.x, a.y, b.x, b.y, y];
  });
}

const AXIS = 20;
const TREE = { top: 30, bottom: 118, height: 122 };

// The tree above a map whose first cell begins at `left`; all paint is in attributes.
function drawTree(svg, left, cell) {
  const heights = view.tree.joins.map((value) => 1 - value);
  const chance = 1 - view.tree.chance;
  const [least, most] = [Math.min(...heights, chance), Math.max(...heights, chance)];
  const low = view.fitted && most > least ? Math.max(0, least - 0.15 * (most - least)) : 0;
  const high = most || 1;
  const at = scale([low, high], [TREE.bottom, TREE.top]);
  const right = left + cell * view.n;
  const words = { fill: style("--muted"), "font-family": "sans-serif", "font-size": 11 };
  const box = draw(svg, "g", { fill: "none", stroke: style("--muted") });
  for (const v of ticks(low, high, 3)) {
    draw(box, "line", { stroke: style("--line"), x1: left, x2: right, y1: at(v), y2: at(v) });
    draw(svg, "text", { ...words, x: left - 6, y: at(v) + 4, "text-anchor": "end" }, short(v));
  }
  const foot = (y) => Math.min(TREE.bottom, at(y)).toFixed(1);
  const path = elbows(heights).map(([a, y, b, z, height]) => {
    const [from, to] = [a, b].map((x) => (left + x * cell).toFixed(1));
    return `M${from},${foot(y)}V${at(height).toFixed(1)}H${to}V${foot(z)}`;
  });
  draw(box, "path", { d: path.join(""), "stroke-width": cell < 3 ? 0.75 : 1.25, "stroke-linejoin": "round" });
  draw(svg, "text", { ...words, x: 0, y: 10 }, `1 − ${view.tree.title}, mean between branches`);
  draw(box, "line", {
    stroke: style("--chance"), "stroke-width": 1.25, "stroke-dasharray": "2 3",
    x1: left, x2: right, y1: at(chance), y2: at(chance),
  });
  draw(svg, "text", { ...words, x: right, y: at(chance) - 5, "text-anchor": "end" }, view.tree.name);
}

function showTree() {
  const svg = byId("tree");
  svg.replaceChildren();
  byId("tree-caption").hidden = !view.tree;
  svg.toggleAttribute("hidden", !view.tree);
  if (!view.tree) return;
  svg.setAttribute("viewBox", `0 0 ${map.clientWidth} ${TREE.height}`);
  drawTree(svg, view.left, view.cell);
}
