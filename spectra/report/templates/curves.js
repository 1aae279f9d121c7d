// The three plots of one layer, from the checkpoints or from a side.

// Cumulated values at levels of k as mean shares of the directions between.
function steps(points, low) {
  let [from, before] = [0, 0];
  const found = [];
  for (const [k, value] of points) {
    const share = Math.max((value - before) / (k - from), low);
    found.push([from + 0.5, share], [k + 0.5, share]);
    [from, before] = [k, value];
  }
  return found;
}

const nullOf = (layer) => layer.nulls[chosen.null] || [];

// The number of directions that hold a share of all; null beyond the floor.
function directionsFor(layer, share) {
  let sum = 0;
  const at = layer.share.findIndex((v) => (sum += v || 0) >= share);
  return at < 0 ? null : at + 1;
}

function upright(svg, at, k, y) {
  if (!k) return;
  const x = at.x(k);
  draw(svg, "line", { class: "at-k", x1: x, x2: x, y1: BOX.top, y2: BOX.bottom });
  draw(svg, "text", { x: x + 3, y: y || BOX.top + 9 }, `k = ${k}`);
}

function nothing(svg, text) {
  svg.replaceChildren();
  draw(svg, "text", { x: BOX.left, y: 120 }, text);
}

function drawSpectrum(svg, layer) {
  const share = layer.share.map((v, i) => [i + 1, v]).filter(([, v]) => v > 0);
  const isotropic = 1 / Math.max(1, layer.n - 1);
  const values = [...share.map(([, v]) => v), isotropic];
  const high = Math.max(...values) * 1.15;
  const log = Math.max(...values) / Math.min(...values) > 50;
  const low = log ? Math.min(...values) / 2 : 0;
  const at = axes(svg, {
    x: [0.5, Math.max(2, layer.n - 1) + 0.5], y: [low, high], log,
    xlabel: "direction", ylabel: "share of the deviations",
  });
  if (layer.floor > low) {
    const top = at.y(Math.min(layer.floor, high));
    draw(svg, "rect", {
      class: "floor", x: BOX.left, width: BOX.right - BOX.left, y: top,
      height: BOX.bottom - top,
    });
    if (BOX.bottom - top > 14) {
      draw(svg, "text", { x: BOX.left + 4, y: BOX.bottom - 5 }, "below the floor of rounding");
    }
  }
  line(svg, at, [[0.5, isotropic], [layer.n - 0.5, isotropic]], "isotropic");
  line(svg, at, steps(layer.norms, low), "norms");
  line(svg, at, steps(nullOf(layer).map(([k, mean]) => [k, mean]), low), "null");
  line(svg, at, share, "observed");
  if (share.length <= 60) dots(svg, at, share, "dot", 2);
  legend(svg, [["observed", "observed"], ["norms", "norms only"],
    ["null", "null mean"], ["isotropic", "isotropic"]]);
  if (layer.even === null) return "No spectrum: the members do not differ above the floor.";
  return `As even as ${layer.even.toFixed(1)} equal directions; unrelated members would give`
    + ` at most ${layer.n - 1}.`;
}

// The band of a null between its mean and what 95 % of draws stay below.
function band(svg, at, points) {
  if (!points.length) return;
  const lower = points.map(([k, mean]) => [k, mean]).reverse();
  const upper = points.map(([k, , q95]) => [k, q95]);
  const around = [[0, 0], ...upper, ...lower];
  const text = around.map(([a, b]) => `${at.x(a).toFixed(1)},${at.y(b).toFixed(1)}`);
  draw(svg, "polygon", { class: "null-band", points: text.join(" ") });
  line(svg, at, [[0, 0], ...upper], "null");
}

function drawTop(svg, layer) {
  let sum = 0;
  const top = [[0, 0], ...layer.share.map((v, i) => [i + 1, (sum += v || 0)])];
  const last = Math.max(2, layer.n - 1);
  const at = axes(svg, {
    x: [0, last], y: [0, 1], xlabel: "k", ylabel: "cumulative share",
  });
  band(svg, at, nullOf(layer));
  line(svg, at, [[0, 0], [last, 1]], "isotropic");
  line(svg, at, [[0, 0], ...layer.norms], "norms");
  line(svg, at, top, "observed");
  const needed = directionsFor(layer, chosen.energy);
  if (needed) {
    rule(svg, BOX, at.y(chosen.energy), "target", "");
    draw(svg, "circle", { class: "dot", cx: at.x(needed), cy: at.y(top[needed][1]), r: 3.5 });
  }
  upright(svg, at, levelOf(layer), BOX.bottom - 6);
  legend(svg, [["observed", "observed"], ["norms", "norms only"],
    ["null", "null 95 %"], ["isotropic", "isotropic"]]);
  return `${sayTop(layer)} ${sayEnergy(layer, needed)}`;
}

function sayTop(layer) {
  const k = levelOf(layer);
  const [evr] = valuesAt(layer.explained, k);
  if (evr === undefined) return `Fewer than ${k} directions are above the floor.`;
  const top = k === 1 ? "The first direction holds" : `The top ${k} hold`;
  const [norms] = valuesAt(layer.norms, k);
  const [, q95] = valuesAt(nullOf(layer), k);
  return `${top} ${number(evr)} of the deviations; orthogonal updates of the same norms would`
    + ` hold ${number(norms)}, and 95\u00a0% of null draws stay below ${number(q95)}.`;
}

function sayEnergy(layer, needed) {
  if (!needed) return "";
  const equal = Math.ceil(chosen.energy * (layer.n - 1) - 1e-9);
  return `${Math.round(100 * chosen.energy)}\u00a0% lie in ${needed}; of equal ones it would take ${equal}.`;
}

function drawHeldOut(svg, layer) {
  const found = layer.held_out;
  if (!found.length) {
    nothing(svg, "not tested");
    return "Not tested: too few independent groups to hold one out.";
  }
  drawPairs(svg, found, ["captured", "random directions"], "share of a held-out group's deviations");
  return sayHeldOut(layer);
}

// Values at levels of k beside what chance would give.
function drawPairs(svg, found, names, ylabel) {
  const last = found.at(-1)[0];
  const highest = Math.max(...found.map(([, a, b]) => Math.max(a, b)));
  const at = axes(svg, {
    x: [0, last < 4 ? last + 1 : last * 1.05], y: [0, highest * 1.15 || 1],
    xlabel: "k", ylabel, xticks: found.map(([k]) => k),
  });
  const [values, chance] = [1, 2].map((i) => found.map((p) => [p[0], p[i]]));
  line(svg, at, chance, "random");
  dots(svg, at, chance, "open", 3);
  line(svg, at, values, "captured");
  dots(svg, at, values, "dot", 3.5);
  legend(svg, [["captured", names[0]], ["random", names[1]]]);
}

function sayHeldOut(layer) {
  const k = levelOf(layer);
  const [captured, random] = valuesAt(layer.held_out, k);
  if (captured === undefined) return `Not tested at k = ${k}.`;
  const text = `Of a held-out group's deviations, ${k} direction${k === 1 ? "" : "s"} found`
    + ` without it captured ${number(captured)}, random ones ${number(random)}.`;
  if (!layer.excess || k !== Number(layer.k)) return text;
  const [value, low, high] = layer.excess.map(number);
  return `${text} The excess is ${value} (95\u00a0% interval ${low} to ${high}).`;
}

// The same of a side: directions that members write to, or read from.
function drawSideSpectrum(svg, side, name) {
  if (!side.held.length) {
    nothing(svg, "not measured");
    return "Not measured.";
  }
  const held = side.held.map((v, i) => [i + 1, v]);
  const at = axes(svg, {
    x: [0.5, Math.max(2, held.length) + 0.5], y: [0, Math.max(held[0][1], side.edge || 0) * 1.15],
    xlabel: "common direction", ylabel: "mean over members of what their subspace holds of it",
  });
  for (const [value, kind] of [[side.chance, "isotropic"], [side.edge, "null"]]) {
    if (value !== null) line(svg, at, [[0.5, value], [held.length + 0.5, value]], kind);
  }
  line(svg, at, held, "observed");
  dots(svg, at, held, "dot", 2);
  legend(svg, [["observed", "observed"], ["null", "edge of random ones"], ["isotropic", "chance"]]);
  const above = side.held.filter((v) => side.edge !== null && v > side.edge).length;
  const many = above === side.held.length ? `${above} or more` : above;
  return `Members hold ${number(held[0][1])} of the first common ${name} direction on average, random`
    + ` subspaces ${number(side.chance)}; ${many} lie above the edge ${number(side.edge)}.`;
}

function drawSideTop(svg, side) {
  const last = side.explained.at(-1);
  if (!last) {
    nothing(svg, "not measured");
    return "Not measured.";
  }
  const at = axes(svg, {
    x: [0, last[0] * 1.05], y: [0, 1], xlabel: "k", ylabel: "cumulative share",
    xticks: side.explained.map(([k]) => k),
  });
  band(svg, at, side.null);
  line(svg, at, [[0, 0], ...side.explained], "observed");
  dots(svg, at, side.explained, "dot", 3);
  legend(svg, [["observed", "observed"], ["null", "null 95 %"]]);
  const drawn = side.null.at(-1);
  return `The top ${last[0]} hold ${number(last[1])} of the updates`
    + (drawn ? `; 95\u00a0% of draws with random frames stay below ${number(drawn[2])}.`
      : "; the null was not drawn for this side.");
}

function drawHalves(svg, side) {
  if (!side.halves.length) {
    nothing(svg, "not measured");
    return "Not measured: too few groups to be halved.";
  }
  drawPairs(svg, side.halves, ["halves agree", "null"], "overlap of the directions of two halves");
  const [k, value, chance] = side.halves.at(-1);
  return `${k} direction${k === 1 ? "" : "s"} of one half of the members overlap with those of the`
    + ` other by ${number(value)}, in draws of the null by ${number(chance)}.`;
}

const THIRD = { "": "Held-out groups", output: "Split halves", input: "Split halves" };

function drawCurves(layer) {
  const side = chosen.axis && layer.sides[chosen.axis];
  const [first, second, third] = ["spectrum", "top", "held-out"].map(byId);
  let captions;
  if (!chosen.axis) {
    captions = [drawSpectrum(first, layer), drawTop(second, layer), drawHeldOut(third, layer)];
  } else if (side) {
    captions = [drawSideSpectrum(first, side, chosen.axis), drawSideTop(second, side), drawHalves(third, side)];
  } else {
    captions = [first, second, third].map((svg) => (nothing(svg, "not measured"), "Not measured."));
  }
  byId("third").textContent = THIRD[chosen.axis];
  ["spectrum", "top", "held-out"].forEach((id, i) => {
    byId(`${id}-caption`).textContent = captions[i];
  });
}
