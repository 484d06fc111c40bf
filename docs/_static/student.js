// The delay model of kd_offload/delay.py, the students as WebAssembly, and the page that shows them.
// student_data.js, which docs/student_data.py writes, has the constants.
"use strict";
const LOCATIONS = ["device", "edge", "cloud"];
const LINKS = ["wireless up", "wireless down", "WAN up", "WAN down"];
const ROWS = [...LOCATIONS, ...LINKS];
// The links from location a to location b, at 3 a + b.
const ROUTES = [[], [0], [0, 2], [1], [], [2], [3, 1], [3], []];
const RATE = [3, 4, 5, 5], TAU = [6, 6, 7, 7]; // each link's bandwidth and delay in the state

// Finish of node j at location k, after the nodes before it. x, finish: one entry a node, source
// first. free: when each resource is free, four links, then device and edge; it is changed.
function place({ n, edges }, task, j, k, x, finish, free, note) {
  const state = n + edges.length; // where the state begins in the task
  let ready = 0;
  for (let e = 0; e < edges.length; e++) {
    const [i, to] = edges[e];
    if (to !== j) continue;
    let at = finish[i];
    for (const link of ROUTES[3 * x[i] + k]) {
      const start = Math.max(at, free[link]);
      free[link] = start + task[n + e] / task[state + RATE[link]];
      if (note) note(LINKS[link], `${i}→${j}`, start, free[link]);
      at = free[link] + task[state + TAU[link]];
    }
    ready = Math.max(ready, at);
  }
  if (j > n) return ready;
  const start = k === 2 ? ready : Math.max(ready, free[4 + k]);
  const done = start + task[j - 1] / task[state + k];
  if (k !== 2) free[4 + k] = done;
  if (note) note(LOCATIONS[k], `${j}`, start, done);
  return done;
}

// Delay in seconds of a placement (n), and what happens when: [resource, what, start, end].
function schedule(graph, task, placement) {
  const x = [0, ...placement, 0], finish = [0], free = [0, 0, 0, 0, 0, 0], events = [];
  for (let j = 1; j <= graph.n + 1; j++) {
    finish[j] = place(graph, task, j, x[j], x, finish, free, (...event) => events.push(event));
  }
  return { delay: finish[graph.n + 1], events };
}

// The best placement of all, by trying them: the start of a placement is given up once it takes
// longer than the best whole one, a known one (n) at first.
function optimum(graph, task, known) {
  const x = [0], finish = [0];
  let best = schedule(graph, task, known).delay, found = known;
  const descend = (j, free) => {
    for (let k = 0; k < (j > graph.n ? 1 : 3); k++) {
      const after = free.slice();
      x[j] = k;
      finish[j] = place(graph, task, j, k, x, finish, after);
      if (finish[j] >= best) continue;
      if (j <= graph.n) descend(j + 1, after);
      else [best, found] = [finish[j], x.slice(1, j)];
    }
  };
  descend(1, [0, 0, 0, 0, 0, 0]);
  return found;
}

// Functions from a task to its placement, for one graph: `anygraph` and `student_dag`; `proof`: what
// is known of anygraph's last one, the bound in seconds and whether it is proven optimal.
function students(bytes, graph) {
  const wasm = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;
  wasm._initialize();
  new Int32Array(wasm.memory.buffer, wasm.pairs()).set(graph.edges.flat());
  const check = (error) => { if (error) throw Error(`student.wasm refuses with error ${error}`); };
  check(wasm.graph(graph.n, graph.edges.length));
  const decide = (name) => (task) => {
    new Float64Array(wasm.memory.buffer, wasm.task()).set(task);
    check(wasm[name]());
    return [...new Uint8Array(wasm.memory.buffer, wasm.placement(), graph.n)];
  };
  const proof = () => ({ bound: wasm.bound(), proven: Boolean(wasm.proven()) });
  return { anygraph: decide("anygraph"), student_dag: decide("student_dag"), proof };
}

function element(parent, tag, attributes = {}, text = "") {
  const svg = ["svg", "rect", "text", "line"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return parent.appendChild(made);
}

// Microseconds of one call, over enough calls for the browser's coarse clock.
function microseconds(call) {
  const start = performance.now();
  let calls = 0, spent = 0;
  while (spent < 4) { call(); calls++; spent = performance.now() - start; }
  return (1000 * spent) / calls;
}

function gantt(parent, { colours }, events, delay, span) {
  const left = 88, high = 15, width = parent.clientWidth, scale = (width - left - 8) / span;
  const svg = element(parent, "svg", { width, height: ROWS.length * high + 4, role: "img" });
  ROWS.forEach((row, r) => {
    element(svg, "text", { x: left - 6, y: r * high + 12, "text-anchor": "end" }, row);
    element(svg, "line", { x1: left, x2: width, y1: (r + 1) * high, y2: (r + 1) * high, class: "rule" });
  });
  for (const [resource, what, start, end] of events) {
    const r = ROWS.indexOf(resource), x = left + scale * start, wide = scale * (end - start);
    const fill = colours[resource] ?? "#BBBBBB";
    element(svg, "rect", { x, y: r * high + 2, width: Math.max(wide, 0.5), height: high - 3, fill });
    if (wide > 6 * what.length + 2) {
      const at = { x: x + wide / 2, y: r * high + 11.5, "text-anchor": "middle", class: "inside" };
      element(svg, "text", at, what);
    }
  }
  const x = left + scale * delay;
  element(svg, "line", { x1: x, x2: x, y1: 0, y2: ROWS.length * high, class: "end" });
}

// Policies for the paper's graph: [name, call, about].
function ofPaper({ graph }, decide, whole) {
  return [
    ["the best placement", () => optimum(graph, whole, decide.anygraph(whole)), "all tried"],
    ["anygraph", () => decide.anygraph(whole), "one network for every graph"],
    ["student", () => decide.student_dag(whole), "the paper's, trained for this graph"],
  ];
}

// And for a visitor's. Its optimum may be out of reach: what is known of it is anygraph's bound.
function ofFile({ graph }, decide, whole) {
  const alone = LOCATIONS.map((name, k) => [`${name} alone`, () => Array(graph.n).fill(k), ""]);
  return [["anygraph", () => decide.anygraph(whole), "one network for every graph"], ...alone];
}

// What is proven of anygraph's placement, in words.
function proofOf(delay, { bound, proven }) {
  if (proven) return "optimal, proven";
  return `at most ${(100 * (delay / bound - 1)).toPrecision(3)} % above the optimum, proven`;
}

// The page. data: graph, tasks (25 quantities each), state [name, label, factor, low, high],
// colours of the locations, wasm in base64.
function show(root, data) {
  const { tasks, state, colours } = data;
  const bytes = Uint8Array.from(atob(data.wasm), (c) => c.charCodeAt(0));
  const numbers = Array.from({ length: data.graph.n }, (_, i) => `${i + 1}`);
  const paper = { graph: data.graph, names: numbers, policies: ofPaper };
  let shown, decide, task;
  const choose = (graph, workload) => {
    if (graph !== shown) decide = students(bytes, graph.graph);
    [shown, task] = [graph, workload];
    draw();
  };
  const form = element(root, "div", { class: "sliders" });
  const values = state.map(([, , , low, high]) => Math.sqrt(low * high));
  state.forEach(([name, label, factor, low, high], q) => {
    const box = element(form, "label", {}, label), said = element(box, "output");
    const slider = element(box, "input", { type: "range", min: 0, max: 100, name });
    const say = () => { said.textContent = Number((values[q] * factor).toPrecision(2)); };
    slider.value = 50;
    slider.oninput = () => {
      values[q] = low * (high / low) ** (slider.value / 100);
      say();
      draw();
    };
    say();
  });
  const choice = element(element(form, "label", {}, "task"), "select", { name: "task" });
  tasks.forEach((_, t) => element(choice, "option", { value: t }, `number ${t + 1}`));
  choice.onchange = () => choose(paper, tasks[choice.value]);
  const own = element(element(form, "label", {}, "your graph file"), "input", { type: "file" });
  const pasted = element(element(form, "label", {}, "or its text"), "textarea", { rows: 1 });
  const said = element(root, "p", { class: "said" });
  pasted.oninput = () => {
    said.textContent = "";
    try {
      const file = readGraph(pasted.value);
      choose({ ...file, policies: ofFile }, file.workload);
    } catch (error) { said.textContent = error.message; }
  };
  own.onchange = async () => {
    pasted.value = await own.files[0].text();
    pasted.oninput();
  };
  const result = element(root, "div", { class: "result" });
  const draw = () => {
    result.textContent = "";
    const { graph, names } = shown, whole = [...task, ...values];
    const rows = shown.policies(shown, decide, whole).map(([name, call, about]) => {
      const x = call(), time = microseconds(call), known = schedule(graph, whole, x);
      const proof = name === "anygraph" ? proofOf(known.delay, decide.proof()) : "";
      return { name, about: shown === paper ? about : proof, x, time, ...known };
    });
    const best = rows[0].delay, span = Math.max(...rows.map((row) => row.delay));
    for (const { name, about, x, time, delay, events } of rows) {
      const head = element(result, "p", { class: "policy", "data-policy": name });
      element(head, "b", {}, name);
      const over = 100 * (delay / best - 1), costs = over < 0.05 ? "the best" : `+${over.toFixed(1)} %`;
      const took = time < 1000 ? `${time.toFixed(0)} µs` : `${(time / 1000).toFixed(0)} ms`;
      element(head, "span", {}, `${(1000 * delay).toFixed(0)} ms`);
      element(head, "span", {}, costs);
      element(head, "span", {}, `decided in ${took}`);
      const places = element(head, "span", { class: "places" });
      x.forEach((k, i) => element(places, "i",
        { style: `background:${colours[LOCATIONS[k]]}`, title: `${names[i]}: ${LOCATIONS[k]}` }, `${i + 1}`));
      element(head, "span", { class: "about" }, about);
      gantt(result, data, events, delay, span);
    }
  };
  window.onresize = draw;
  choose(paper, tasks[0]);
}

if (typeof module !== "undefined") module.exports = { schedule, optimum, students };
