// A visitor's graph file, read as `anygraph.read_graph` does with its defaults: DAGBench's JSON.
"use strict";
const MEAN_CYCLES = 1e8, MEAN_BYTES = 2e5, MOST_SUBTASKS = 128, MOST_EDGES = 1024;

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const unit = (values, wanted) => (mean(values) > 0 ? wanted / mean(values) : 1);
const quantity = (what, value) => {
  if (Number.isFinite(value) && value >= 0) return value;
  throw Error(`${what}: ${JSON.stringify(value)}, expected a number that is not negative`);
};

// The names in a topological order, ties by their place in the file.
function inOrder(names, dependencies) {
  const waits = new Map(names.map((name) => [name, 0])), order = [];
  for (const { target } of dependencies) waits.set(target, waits.get(target) + 1);
  while (order.length < names.length) {
    const next = names.find((name) => waits.get(name) === 0);
    if (next === undefined) throw Error("dependencies: they form a cycle");
    order.push(next);
    waits.set(next, -1);
    for (const { source, target } of dependencies) {
      if (source === next) waits.set(target, waits.get(target) - 1);
    }
  }
  return order;
}

// The graph { n, edges }, its workload (n cycles, then the edges' bytes) and its subtasks' names.
function readGraph(text) {
  const document = JSON.parse(text), { tasks, dependencies } = document.task_graph ?? document;
  if (!Array.isArray(tasks) || !Array.isArray(dependencies) || !tasks.length) {
    throw Error("the file lacks tasks or dependencies; `anygraph plan` reads other formats");
  }
  const costs = new Map(tasks.map(({ name, cost }) => [`${name}`, quantity(`cost of ${name}`, cost)]));
  if (costs.size < tasks.length) throw Error("tasks: a name is given twice");
  const sizes = new Map(); // of a dependency given twice, the larger
  for (const { source, target, size } of dependencies) {
    for (const name of [source, target]) {
      if (!costs.has(`${name}`)) throw Error(`dependency ${source} -> ${target}: ${name} is no subtask`);
    }
    const key = JSON.stringify([`${source}`, `${target}`]);
    const before = sizes.get(key) ?? 0;
    sizes.set(key, Math.max(before, quantity(`size of ${source} -> ${target}`, size)));
  }
  const pairs = [...sizes].map(([key, size]) => {
    const [source, target] = JSON.parse(key);
    return { source, target, size };
  });
  const names = inOrder([...costs.keys()], pairs), n = names.length;
  const number = new Map(names.map((name, index) => [name, index + 1]));
  const perCost = unit([...costs.values()], MEAN_CYCLES);
  const given = pairs.map(({ size }) => size), perSize = given.length ? unit(given, MEAN_BYTES) : 1;
  const edges = pairs.map((e) => [number.get(e.source), number.get(e.target), e.size * perSize]);
  const typical = given.length ? mean(edges.map(([, , size]) => size)) : MEAN_BYTES;
  const fed = new Set(edges.map(([, j]) => j)), feeding = new Set(edges.map(([i]) => i));
  for (let j = 1; j <= n; j++) {
    if (!fed.has(j)) edges.push([0, j, typical]);
    if (!feeding.has(j)) edges.push([j, n + 1, typical]);
  }
  if (n > MOST_SUBTASKS || edges.length > MOST_EDGES) {
    const most = `${MOST_SUBTASKS} and ${MOST_EDGES}`;
    throw Error(`${n} subtasks and ${edges.length} edges; here at most ${most}, but \`anygraph plan\` merges`);
  }
  edges.sort(([i, j], [k, l]) => j - l || i - k);
  const cycles = names.map((name) => costs.get(name) * perCost);
  const workload = [...cycles, ...edges.map(([, , size]) => size)];
  return { graph: { n, edges: edges.map(([i, j]) => [i, j]) }, workload, names };
}

if (typeof module !== "undefined") module.exports = { readGraph };
