"use strict";
// Small plots in SVG. Colours come from the style sheet, by class.

const byId = (id) => document.getElementById(id);
const SVG = byId("spectrum").namespaceURI;
const BOX = { left: 46, right: 350, top: 34, bottom: 210 };

function draw(parent, name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    node.setAttribute(key, value);
  }
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

function short(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 0.0005) return value.toExponential(1);
  return size < 100 ? String(Number(value.toFixed(3))) : value.toFixed(0);
}

// Round steps of 1, 2 or 5 that give about `count` ticks.
function ticks(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high * (1 + 1e-9); i++) {
    found.push(i * step);
  }
  return found;
}

function powers(low, high) {
  const [first, last] = [Math.ceil(Math.log10(low)), Math.floor(Math.log10(high))];
  const every = Math.max(1, Math.ceil((last - first) / 5));
  const found = [];
  for (let p = first; p <= last; p += every) found.push(10 ** p);
  return found;
}

function scale(domain, range, log) {
  const f = log ? Math.log10 : (v) => v;
  const [low, high] = domain.map(f);
  return (v) => range[0] + ((f(v) - low) / (high - low || 1)) * (range[1] - range[0]);
}

// Axes with units; returns the two scales.
function axes(svg, spec) {
  svg.replaceChildren();
  const x = scale(spec.x, [BOX.left, BOX.right], false);
  const y = scale(spec.y, [BOX.bottom, BOX.top], spec.log);
  const values = spec.log ? powers(...spec.y) : ticks(...spec.y, 4);
  for (const v of values) {
    draw(svg, "line", { class: "axis", x1: BOX.left, x2: BOX.right, y1: y(v), y2: y(v) });
    draw(svg, "text", { x: BOX.left - 6, y: y(v) + 4, "text-anchor": "end" }, short(v));
  }
  const marks = spec.xticks || ticks(...spec.x, 6).filter(Number.isInteger);
  for (const v of marks) {
    draw(svg, "text", { x: x(v), y: BOX.bottom + 16, "text-anchor": "middle" }, v);
  }
  draw(svg, "text", { x: BOX.right, y: BOX.bottom + 34, "text-anchor": "end" }, spec.xlabel);
  draw(svg, "text", { x: 0, y: 10 }, spec.ylabel);
  return { x, y };
}

function line(svg, at, points, kind) {
  const text = points.map(([a, b]) => `${at.x(a).toFixed(1)},${at.y(b).toFixed(1)}`);
  if (text.length) draw(svg, "polyline", { class: kind, points: text.join(" ") });
}

function dots(svg, at, points, kind, radius) {
  for (const [a, b] of points) {
    draw(svg, "circle", { class: kind, cx: at.x(a), cy: at.y(b), r: radius });
  }
}

function legend(svg, entries) {
  let left = BOX.left;
  for (const [kind, name] of entries) {
    draw(svg, "line", { class: kind, x1: left, x2: left + 16, y1: 23, y2: 23 });
    draw(svg, "text", { x: left + 20, y: 27 }, name);
    left += 32 + name.length * 5.6;
  }
}

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
  }
  line(svg, at, [[0.5, isotropic], [layer.n - 0.5, isotropic]], "isotropic");
  line(svg, at, steps(layer.norms, low), "norms");
  line(svg, at, steps(layer.null.map(([k, mean]) => [k, mean]), low), "null");
  line(svg, at, share, "observed");
  if (share.length <= 60) dots(svg, at, share, "dot", 2);
  legend(svg, [["observed", "observed"], ["norms", "norms only"],
    ["null", "null mean"], ["isotropic", "isotropic"]]);
}

function drawTop(svg, layer) {
  let sum = 0;
  const top = [[0, 0], ...layer.share.map((v, i) => [i + 1, (sum += v || 0)])];
  const last = Math.max(2, layer.n - 1);
  const at = axes(svg, {
    x: [0, last], y: [0, 1], xlabel: "k", ylabel: "cumulative share",
  });
  const upper = layer.null.map(([k, , q95]) => [k, q95]);
  const lower = layer.null.map(([k, mean]) => [k, mean]).reverse();
  if (upper.length) {
    const around = [[0, 0], ...upper, ...lower];
    const text = around.map(([a, b]) => `${at.x(a).toFixed(1)},${at.y(b).toFixed(1)}`);
    draw(svg, "polygon", { class: "null-band", points: text.join(" ") });
  }
  line(svg, at, [[0, 0], [last, 1]], "isotropic");
  line(svg, at, [[0, 0], ...layer.norms], "norms");
  line(svg, at, [[0, 0], ...upper], "null");
  line(svg, at, top, "observed");
  legend(svg, [["observed", "observed"], ["norms", "norms only"],
    ["null", "null 95 %"], ["isotropic", "isotropic"]]);
}

function drawHeldOut(svg, layer) {
  const found = layer.held_out;
  if (!found.length) {
    svg.replaceChildren();
    draw(svg, "text", { x: BOX.left, y: 120 }, "not tested");
    return;
  }
  const last = found.at(-1)[0];
  const highest = Math.max(...found.map(([, a, b]) => Math.max(a, b)));
  const at = axes(svg, {
    x: [0, last < 4 ? last + 1 : last * 1.05], y: [0, highest * 1.15 || 1],
    xlabel: "k", ylabel: "share of a held-out group's deviations",
    xticks: found.map(([k]) => k),
  });
  const captured = found.map(([k, a]) => [k, a]);
  const random = found.map(([k, , b]) => [k, b]);
  line(svg, at, random, "random");
  dots(svg, at, random, "open", 3);
  line(svg, at, captured, "captured");
  dots(svg, at, captured, "dot", 3.5);
  legend(svg, [["captured", "captured"], ["random", "random directions"]]);
}
