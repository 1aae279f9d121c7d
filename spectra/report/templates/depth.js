// Along the network: one mark a layer, one line a type of module.

const DEPTH = {
  excess: {
    label: "excess of the share captured of a held-out group",
    value: (layer) => {
      if (layer.excess && (!chosen.k || chosen.k === Number(layer.k))) return layer.excess;
      const [captured, random] = valuesAt(layer.held_out, levelOf(layer));
      return captured === undefined ? null : [captured - random];
    },
    says: "What the directions of the other groups hold of a held-out one, less what random"
      + " directions hold. 0 is chance. Bars: 95\u00a0% intervals over groups, at each layer's own k.",
  },
  explained: {
    label: "explained share less the null's mean",
    value: (layer) => {
      const [evr] = valuesAt(layer.explained, levelOf(layer));
      const [mean] = valuesAt(nullOf(layer), levelOf(layer));
      return evr === undefined || mean === undefined ? null : [evr - mean];
    },
    says: "The share of the deviations in the top k, less the null's mean. 0 is chance: updates of"
      + " the same strengths in random directions.",
  },
  output: {
    label: "output overlap less chance", value: (layer) => overlapExcess(layer.sides.output),
    says: "The mean overlap of two members' output subspaces, less that of random ones, which is 0.",
  },
  input: {
    label: "input overlap less chance", value: (layer) => overlapExcess(layer.sides.input),
    says: "The mean overlap of two members' input subspaces, less that of random ones, which is 0.",
  },
  r2: {
    label: "held-out R² of the mean", value: (layer) => (layer.r2 === null ? null : [layer.r2]),
    says: "What the mean of the other groups predicts of a held-out one. 0: no more than predicting nothing.",
  },
};

const profile = { points: [] };

function overlapExcess(side) {
  return !side || side.overlap === null ? null : [side.overlap - side.overlap_chance];
}

function lined() {
  const modules = new Map();
  drawn.layers.forEach((layer) => {
    if (layer.index !== null && !modules.has(layer.module)) modules.set(layer.module, modules.size);
  });
  return modules;
}

function drawDepth() {
  const svg = byId("profile");
  const measure = DEPTH[byId("depth-of").value];
  const modules = lined();
  let last = Math.max(0, ...drawn.layers.map((layer) => layer.index || 0));
  const points = drawn.layers.map((layer, i) => {
    const alone = layer.index === null;
    return { i, layer, alone, at: alone ? (last += 1) : layer.index, value: measure.value(layer) };
  }).filter((point) => point.value);
  const limits = byId("depth-of").value === "excess" ? drawn.thresholds : {};
  const values = points.flatMap((point) => point.value);
  const highest = Math.max(0, ...values);
  const inView = Object.entries(limits).filter(([, v]) => v < Math.max(highest * 1.6, 0.03));
  const box = fit(svg, 330);
  const high = Math.max(highest, ...inView.map(([, v]) => v)) || 1;
  const low = Math.min(0, ...values);
  const room = 0.08 * (high - low);
  const at = axes(svg, {
    x: [-0.5, Math.max(1, last) + 0.5], y: [low - (low < 0 ? room : 0), high + room],
    xlabel: "number in the layer's name", ylabel: measure.label,
  }, box);
  rule(svg, box, at.y(0), "isotropic", "chance");
  for (const [name, value] of inView) rule(svg, box, at.y(value), "limit", name.replace("_", " "));
  for (const [module, tone] of modules) {
    const along = points.filter((p) => !p.alone && p.layer.module === module).sort((a, b) => a.at - b.at);
    line(svg, at, along.map((p) => [p.at, p.value[0]]), `module g${Math.min(tone, OTHERS)}`);
  }
  const spread = Math.min(7, (box.right - box.left) / (last + 2) / (modules.size + 1));
  for (const point of points) {
    const order = point.alone ? OTHERS : modules.get(point.layer.module);
    const tone = Math.min(order, OTHERS);
    // Types stand beside one another, or their bars would cover each other.
    point.x = at.x(point.at) + (point.alone ? 0 : spread * (order - (modules.size - 1) / 2));
    point.y = at.y(point.value[0]);
    const faded = matches(point.layer) ? "" : " faded";
    if (point.value.length === 3) {
      draw(svg, "line", {
        class: `bar-of g${tone}${faded}`, x1: point.x, x2: point.x,
        y1: at.y(point.value[1]), y2: at.y(point.value[2]),
      });
    }
    const drawnMark = mark(svg, tone, point.x, point.y, point.i === pick.selectedIndex ? 6 : 4);
    if (faded) drawnMark.classList.add("faded");
    if (point.i === pick.selectedIndex) drawnMark.classList.add("picked");
  }
  profile.points = points;
  const entries = [...modules].slice(0, OTHERS).map(([module, tone]) => [tone, module]);
  if (modules.size > OTHERS || points.some((p) => p.alone)) entries.push([OTHERS, "other layers"]);
  keys(byId("modules"), entries);
  const missing = drawn.layers.length - points.length;
  byId("profile-caption").textContent = measure.says
    + (missing ? ` Of ${missing} of ${drawn.layers.length} layers it is not known.` : "");
}

function tellDepth(event) {
  const point = nearest(byId("profile"), event, profile.points);
  byId("profile-told").textContent = point ? depthText(point) : "";
  return point;
}

function depthText({ layer, value }) {
  const [middle, low, high] = value.map(number);
  const between = low === undefined ? "" : ` (${low} to ${high})`;
  return `${layer.name}: ${middle}${between}, k = ${levelOf(layer)}, ${layer.verdict}`;
}

byId("profile").addEventListener("pointermove", tellDepth);
byId("profile").addEventListener("click", (event) => {
  const point = tellDepth(event);
  if (point) goTo(point.i);
});
