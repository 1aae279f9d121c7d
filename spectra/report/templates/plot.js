"use strict";
// Small plots in SVG. Colours come from the style sheet, by class.

const byId = (id) => document.getElementById(id);
const SVG = document.querySelector("svg").namespaceURI;
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

// As in the tables of this page: three decimals where that will do.
function number(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (value === 0) return "0";
  if (size < 0.0005 || size >= 1e5) return value.toExponential(1).replace(".0e", "e").replace("+", "");
  return size < 100 ? value.toFixed(3) : value.toFixed(1);
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
function axes(svg, spec, box = BOX) {
  svg.replaceChildren();
  const x = scale(spec.x, [box.left, box.right], false);
  const y = scale(spec.y, [box.bottom, box.top], spec.log);
  const values = spec.log ? powers(...spec.y) : ticks(...spec.y, 4);
  for (const v of values) {
    draw(svg, "line", { class: "axis", x1: box.left, x2: box.right, y1: y(v), y2: y(v) });
    draw(svg, "text", { x: box.left - 6, y: y(v) + 4, "text-anchor": "end" }, short(v));
  }
  const marks = spec.xticks || ticks(...spec.x, 6).filter(Number.isInteger);
  for (const v of marks) {
    draw(svg, "text", { x: x(v), y: box.bottom + 16, "text-anchor": "middle" }, v);
  }
  draw(svg, "text", { x: box.right, y: box.bottom + 34, "text-anchor": "end" }, spec.xlabel);
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

// As wide as it is shown, so that its text is as large as all text.
function fit(svg, height) {
  const width = Math.round(Math.max(300, svg.clientWidth));
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  return { left: 46, right: width - 10, top: 34, bottom: height - 40 };
}

function rule(svg, box, y, kind, text) {
  draw(svg, "line", { class: kind, x1: box.left, x2: box.right, y1: y, y2: y });
  if (text) draw(svg, "text", { x: box.right, y: y - 4, "text-anchor": "end" }, text);
}

// Groups and types are told apart by shape as well as by colour.
const SHAPES = [
  "M-1,0a1,1 0 1,0 2,0a1,1 0 1,0 -2,0z", "M-.9,-.9h1.8v1.8h-1.8z",
  "M0,-1.15l1.1,2h-2.2z", "M0,-1.25l1.1,1.25l-1.1,1.25l-1.1,-1.25z",
  "M0,1.15l1.1,-2h-2.2z", "M-.4,-1.1h.8v.7h.7v.8h-.7v.7h-.8v-.7h-.7v-.8h.7z",
  "M-1,-.55l.45,-.45l.55,.55l.55,-.55l.45,.45l-.55,.55l.55,.55l-.45,.45l-.55,-.55l-.55,.55l-.45,-.45l.55,-.55z",
  "M-1,0a1,1 0 1,0 2,0a1,1 0 1,0 -2,0z",
];

function mark(parent, tone, x, y, radius) {
  return draw(parent, "path", {
    class: `mark g${tone}`, d: SHAPES[tone], "data-tone": tone,
    transform: `translate(${x.toFixed(1)},${y.toFixed(1)}) scale(${radius})`,
  });
}

// A list of marks and what each stands for.
function keys(list, entries) {
  list.replaceChildren(...entries.map(([tone, text]) => {
    const item = document.createElement("li");
    const svg = draw(item, "svg", { viewBox: "-1.5 -1.5 3 3", "aria-hidden": "true" });
    mark(svg, tone, 0, 0, 1);
    item.append(text);
    return item;
  }));
}

// What lies nearest to the mouse; null beyond 24 units.
function nearest(svg, event, points) {
  const place = svg.getScreenCTM().inverse();
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(place);
  let [best, least] = [null, 24];
  for (const point of points) {
    const away = Math.hypot(point.x - at.x, point.y - at.y);
    if (away < least) [best, least] = [point, away];
  }
  return best;
}

function legend(svg, entries) {
  let left = BOX.left;
  for (const [kind, name] of entries) {
    draw(svg, "line", { class: kind, x1: left, x2: left + 16, y1: 23, y2: 23 });
    draw(svg, "text", { x: left + 20, y: 27 }, name);
    left += 32 + name.length * 5.6;
  }
}
