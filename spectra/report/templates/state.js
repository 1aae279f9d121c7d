// What is given, and what the reader has chosen: all is drawn from these two.

const drawn = JSON.parse(byId("drawn").textContent);
const pick = byId("pick");

const chosen = {
  get k() { return Number(byId("k").value) || null; },
  get null() { return byId("null").value; },
  get energy() { return Number(byId("energy").value) / 100; },
  get axis() { return byId("axis").value; },
  get colours() { return byId("colours").value; },
  get members() { return byId("members").value; },
};

const levelOf = (layer) => chosen.k || Number(layer.k);
const valuesAt = (points, k) => (points.find(([at]) => at === k) || [k]).slice(1);

// Part of the name, or a glob; and the verdict.
function matches(layer) {
  const only = byId("only").value;
  if (only && layer.verdict !== only) return false;
  const parts = byId("match").value.trim().toLowerCase().split("*");
  let [rest, found] = [layer.name.toLowerCase(), true];
  for (const part of parts) {
    const at = rest.indexOf(part);
    if (at < 0) found = false;
    rest = rest.slice(at + part.length);
  }
  return found;
}

// Groups of several checkpoints by lineage or by random start, largest first.
function groupsBy(key) {
  const found = new Map();
  drawn.models.forEach((model, i) => {
    if (model[key] === null) return;
    if (!found.has(model[key])) found.set(model[key], []);
    found.get(model[key]).push(i);
  });
  return [...found].filter(([, members]) => members.length > 1)
    .sort((a, b) => b[1].length - a[1].length);
}

const OTHERS = 7;

// The tone of each checkpoint: seven groups have their own; null is alone.
function tones(key) {
  const found = drawn.models.map(() => null);
  groupsBy(key).forEach(([, members], i) => {
    for (const member of members) found[member] = Math.min(i, OTHERS);
  });
  return found;
}

// Every checkpoint, or the first of each group.
function kept() {
  const seen = new Set();
  return drawn.models.map((model) => {
    const group = chosen.members && model[chosen.members];
    if (!chosen.members || group === null) return true;
    if (seen.has(group)) return false;
    seen.add(group);
    return true;
  });
}

const GROUP = { group: "lineage group", start: "random start" };

function listGroups(list) {
  const found = groupsBy(chosen.colours);
  const entries = found.slice(0, OTHERS).map(([name, members], i) => [
    i, `${GROUP[chosen.colours]} ${name}: ${members.length}, ${drawn.models[members[0]].name} first`,
  ]);
  if (found.length > OTHERS) entries.push([OTHERS, `${found.length - OTHERS} smaller groups`]);
  keys(list, entries);
  if (!found.length) list.textContent = `No two checkpoints have one ${GROUP[chosen.colours]}.`;
}
