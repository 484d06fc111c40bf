"""Slow, plain, independent oracles of the offloading problem, to compare the package with.

Written only from the text of the formulation; nothing here imports the package.

Arguments, everywhere:
- ``n``: number of subtasks, numbered 1..n in a topological order; 0 is the source, n + 1 the sink.
- ``edges``: list of pairs (i, j), i < j, sorted by (j, i).
- ``task``: 1-D float vector, SI units: w_1..w_n (cycles), the bytes of each edge in the order of
  ``edges``, f_0 f_1 f_2 (cycles/s), B_up B_down B_wan (bytes/s), tau_wireless tau_wan (s).
- a placement ``x``: n integers, 0 = end device, 1 = edge server, 2 = cloud server.

Delays are in seconds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

UNIT = 1e-6  # s, in which CP-SAT counts
PATIENCE = 60.0  # s of CP-SAT's own deterministic time
TIE = 1e-9  # placements with D <= D* (1 + TIE) are tied; the label is the lexicographically first

# The links that a transfer crosses, in order: the device reaches the cloud through the edge.
ROUTE = {
    (0, 0): [], (0, 1): ["up"], (0, 2): ["up", "wan up"],
    (1, 0): ["down"], (1, 1): [], (1, 2): ["wan up"],
    (2, 0): ["wan down", "down"], (2, 1): ["wan down"], (2, 2): [],
}  # fmt: skip


class Task(NamedTuple):
    """The entries of a task by name."""

    cycles: dict  # by subtask
    size: dict  # bytes, by edge
    speed: dict  # cycles/s, by location
    bandwidth: dict  # bytes/s, by link
    propagation: dict  # s, by link


def unpack(n, edges, task) -> Task:
    """Name the entries of a task; ValueError for one that does not fit the graph."""
    edges = [(int(i), int(j)) for i, j in edges]
    values = [float(value) for value in task]
    if len(values) != n + len(edges) + 8:
        raise ValueError(f"task: {len(values)} entries, expected {n + len(edges) + 8}")
    inside = all(0 <= i < j <= n + 1 for i, j in edges)
    if edges != sorted(edges, key=lambda e: (e[1], e[0])) or not inside:
        raise ValueError("edges must be pairs i < j within 0..n+1, sorted by (j, i)")
    f_0, f_1, f_2, b_up, b_down, b_wan, tau_wireless, tau_wan = values[n + len(edges) :]
    return Task(
        cycles=dict(zip(range(1, n + 1), values[:n], strict=True)),
        size=dict(zip(edges, values[n : n + len(edges)], strict=True)),
        speed={0: f_0, 1: f_1, 2: f_2},
        bandwidth={"up": b_up, "down": b_down, "wan up": b_wan, "wan down": b_wan},
        propagation={
            "up": tau_wireless,
            "down": tau_wireless,
            "wan up": tau_wan,
            "wan down": tau_wan,
        },
    )


def reference_delay(n, edges, task, x):
    """Delay D(x) of one placement, in seconds: the formulation's rules, one by one."""
    cycles, size, speed, bandwidth, propagation = unpack(n, edges, task)
    if len(x) != n:
        raise ValueError(f"a placement of {n} subtasks, not {len(x)}")
    # The source and the sink stay on the end device and cost no cycles.
    place = {0: 0, n + 1: 0} | {j: int(x[j - 1]) for j in range(1, n + 1)}
    # Six resources serve one thing at a time. The elastic cloud's processor is not among them.
    processor = {0: "device", 1: "edge"}
    free = dict.fromkeys(["device", "edge", *bandwidth], 0.0)
    finish = {0: 0.0}
    # Resources serve in the order of subtask numbers (the sink last) ...
    for j in range(1, n + 2):
        ready = 0.0
        # ... and for one subtask in the order of its predecessors' numbers.
        for i in sorted(a for a, b in size if b == j):
            data = finish[i]
            for link in ROUTE[place[i], place[j]]:  # none where both are in one place
                leave = max(data, free[link])
                free[link] = leave + size[i, j] / bandwidth[link]
                data = free[link] + propagation[link]  # its arrival; the next hop is ready then
            ready = max(ready, data)
        if j == n + 1:
            return ready  # when the sink's last input has arrived on the device
        serial = processor.get(place[j])
        start = max(ready, free[serial]) if serial else ready
        finish[j] = start + cycles[j] / speed[place[j]]
        if serial:
            free[serial] = finish[j]


def enumerate_all(n, edges, task):
    """Every placement and its delay, all side by side: an array operation for a rule of the text.

    Returns (placements, delays): int8 (3^n, n) in lexicographic order, and float64 (3^n,) seconds.
    The arithmetic and its order are those of `reference_delay`: the two agree to the last bit.
    """
    cycles, size, speed, bandwidth, propagation = unpack(n, edges, task)
    placements = np.indices((3,) * n, dtype=np.int8).reshape(n, -1).T
    zeros = np.zeros(len(placements))
    device = zeros.astype(np.int8)
    place = [device, *(np.ascontiguousarray(column) for column in placements.T), device]
    free = dict.fromkeys([0, 1, *bandwidth], zeros)  # 0 and 1 are processors, the others links
    finish = {0: zeros}
    for j in range(1, n + 2):
        ready = zeros
        for i in (i for i, to in edges if to == j):
            a, b, data = place[i], place[j], finish[i]
            # A route is a subsequence of these four links, whichever two places it joins.
            for link, used in (
                ("up", (a == 0) & (b != 0)),
                ("wan up", (a != 2) & (b == 2)),
                ("wan down", (a == 2) & (b != 2)),
                ("down", (a != 0) & (b == 0)),
            ):
                end = np.maximum(data, free[link]) + size[i, j] / bandwidth[link]
                free[link] = np.where(used, end, free[link])
                data = np.where(used, end + propagation[link], data)
            ready = np.maximum(ready, data)
        if j == n + 1:
            return placements, ready
        finish[j] = ready + cycles[j] / speed[2]  # right in the cloud, overwritten elsewhere
        for k in (0, 1):
            end = np.maximum(ready, free[k]) + cycles[j] / speed[k]
            finish[j] = np.where(place[j] == k, end, finish[j])
            free[k] = np.where(place[j] == k, end, free[k])


def enumerate_best(n, edges, task):
    """The label x* and its delay by trying all 3^n placements: (tuple of n ints, float seconds).

    The delay is computed again with `reference_delay` and must be the same.
    """
    placements, delays = enumerate_all(n, edges, task)
    winner = np.flatnonzero(delays <= delays.min() * (1 + TIE))[0]
    x = tuple(int(k) for k in placements[winner])
    delay = reference_delay(n, edges, task, x)
    if delay != delays[winner]:
        raise AssertionError(f"two evaluations of {x} differ: {delay!r}, {float(delays[winner])!r}")
    return x, delay


class Tables(NamedTuple):
    """A task as arrays, for the plain search. Links are numbered 0 to 3."""

    n: int
    first: np.ndarray  # edges into node j start at first[j]
    source: np.ndarray  # of every edge
    run: np.ndarray  # (n + 2, 3), s: of a node at each place
    hold: np.ndarray  # (edges, 4), s: how long an edge's bytes hold each link
    propagation: np.ndarray  # (4,), s
    links: np.ndarray  # (3, 3, 2): links between two places, -1 for none
    time_to_result: np.ndarray  # (n + 2, 3), s: from a node's finish, if nothing waits


def _tables(n, edges, task) -> Tables:
    cycles, size, speed, bandwidth, propagation = unpack(n, edges, task)
    names = list(bandwidth)
    run = np.zeros((n + 2, 3))
    for j in cycles:
        run[j] = [cycles[j] / speed[k] for k in speed]
    links = np.full((3, 3, 2), -1)
    for (a, b), route in ROUTE.items():
        links[a, b, : len(route)] = [names.index(link) for link in route]
    time_to_result = np.zeros((n + 2, 3))
    for i, j in sorted(edges, key=lambda e: -e[1]):  # all that j feeds is known before j
        for a in range(3):
            ways = []
            for b in range(3) if j <= n else (0,):
                way = sum(size[i, j] / bandwidth[m] + propagation[m] for m in ROUTE[a, b])
                ways.append(way + run[j, b] + time_to_result[j, b])
            time_to_result[i, a] = max(time_to_result[i, a], min(ways))
    return Tables(
        n,
        first=np.searchsorted([j for _, j in edges], range(n + 3)),
        source=np.array([i for i, _ in edges]),
        run=run,
        hold=np.array([[d / bandwidth[link] for link in names] for d in size.values()]),
        propagation=np.array([propagation[link] for link in names]),
        links=links,
        time_to_result=time_to_result,
    )


@njit(cache=True)
def _finish(j, k, tables, x, finish, free):
    """Finish of node j at k after nodes 0..j - 1; `free` (6,) is changed. The rules of
    `reference_delay` on arrays: resources 0 to 3 are the links, 4 and 5 device and edge."""
    ready = 0.0
    for e in range(tables.first[j], tables.first[j + 1]):
        i = tables.source[e]
        data = finish[i]
        for hop in range(2):
            link = tables.links[x[i], k, hop]
            if link >= 0:
                free[link] = max(data, free[link]) + tables.hold[e, link]
                data = free[link] + tables.propagation[link]
        ready = max(ready, data)
    if k == 2:
        return ready + tables.run[j, k]
    free[4 + k] = max(ready, free[4 + k]) + tables.run[j, k]
    return free[4 + k]


@njit(cache=True)
def _depth_first(tables, limit, lexicographic, out):
    """The least delay up to `limit`, or inf if there is none; its placement in `out`.

    Lexicographic: the first placement with a delay up to `limit`. The only bound: what finishes at
    t cannot lead to a result before t + its time to the result.
    """
    n = tables.n
    x, finish = np.zeros(n + 2, np.int64), np.zeros(n + 2)
    free, done = np.zeros((n + 2, 3, 6)), np.zeros((n + 2, 3))
    order, turn = np.zeros((n + 2, 3), np.int64), np.zeros(n + 2, np.int64)
    best = np.inf
    j, turn[1] = 1, -1
    while j > 0:
        if turn[j] < 0:  # the three places of subtask j, the most promising first
            for k in range(3):
                if j > 1:
                    free[j, k] = free[j - 1, x[j - 1]]
                done[j, k] = _finish(j, k, tables, x, finish, free[j, k])
            keys = np.arange(3.0) if lexicographic else done[j] + tables.time_to_result[j]
            order[j] = np.argsort(keys)
            turn[j] = 0
        if turn[j] == 3:
            j -= 1
            continue
        k = order[j, turn[j]]
        turn[j] += 1
        if done[j, k] + tables.time_to_result[j, k] > limit:
            continue
        x[j], finish[j] = k, done[j, k]
        if j < n:
            j += 1
            turn[j] = -1
            continue
        # The sink does not wait for the device: all that ran there leads to it.
        end = _finish(n + 1, 0, tables, x, finish, free[n, k].copy())
        if end <= limit and end < best:
            best, limit = end, end
            out[:] = x[1 : n + 1]
            if lexicographic:
                break
    return best


def search_best(n, edges, task):
    """The label x* and its delay by a plain search, for sizes beyond enumeration: (tuple of n ints,
    float seconds).

    Depth first, in the order of subtask numbers; a prefix is left when a subtask's finish plus its
    least time to the result, if nothing waited, exceeds the best delay known. A second pass, in
    lexicographic order, takes the first placement within D* (1 + TIE). Nothing is remembered and no
    resource is looked at, so it tries far more prefixes than a good search would. The delay is
    computed again with `reference_delay`.
    """
    tables = _tables(n, edges, task)
    out = np.zeros(n, int)
    limit = min(reference_delay(n, edges, task, [k] * n) for k in range(3))
    limit = _depth_first(tables, limit * (1 + TIE), False, out)
    _depth_first(tables, limit * (1 + TIE), True, out)
    x = tuple(int(k) for k in out)
    return x, reference_delay(n, edges, task, x)


def chain_dp(n, task):
    """The label x* and its delay for the chain 0-1-2-...-n+1, in O(n): (tuple of n ints, seconds).

    ``task`` has n + (n + 1) + 8 entries. On a chain nothing waits, so D(x) is a sum of a cost for
    each subtask and each edge. The cost to go from each subtask and place is computed backwards.
    Then, forwards, the smallest place is taken that can still be completed within D* (1 + TIE): the
    tie rule, up to the rounding of sums made in another order, about 1e-15 of D*.
    """
    chain = [(j, j + 1) for j in range(n + 1)]
    cycles, size, speed, bandwidth, propagation = unpack(n, chain, task)

    def move(j, a, b):
        """Seconds for the edge (j - 1, j) from place a to place b."""
        return sum(size[j - 1, j] / bandwidth[link] + propagation[link] for link in ROUTE[a, b])

    def step(j, a, b):
        """Seconds from the end of subtask j - 1 at place a to the end of subtask j at place b."""
        return move(j, a, b) + cycles[j] / speed[b]

    to_go = {n: [move(n + 1, k, 0) for k in range(3)]}  # from the end of subtask j at place k
    for j in range(n - 1, -1, -1):
        to_go[j] = [min(step(j + 1, a, b) + to_go[j + 1][b] for b in range(3)) for a in range(3)]
    limit = to_go[0][0] * (1 + TIE)
    x, elapsed, place = [], 0.0, 0
    for j in range(1, n + 1):
        totals = [elapsed + step(j, place, k) + to_go[j][k] for k in range(3)]
        # The minimum itself always qualifies, even where rounding pushed all over the limit.
        k = next(k for k in range(3) if totals[k] <= max(limit, min(totals)))
        elapsed += step(j, place, k)
        place = k
        x.append(k)
    return tuple(x), reference_delay(n, chain, task, x)


def cpsat_error(n, edges):
    """How far above D* the delay found by `cpsat_solve` may be, in seconds.

    For a given placement the delay is the longest path through a graph whose arcs are execution
    times, link holding times and propagation delays. A path has at most n of the first. An edge
    crosses at most two links, so there are at most 2 len(edges) of each of the others. Each is
    rounded by half a unit at most: the model's delay is within (n + 4 len(edges)) / 2 units of
    D(x), for the best placement as for the one returned.
    """
    return (n + 4 * len(edges)) * UNIT


class _Plan:
    """A CP-SAT model of where nodes are placed and when resources serve, one use after another.

    All constraints are of the form "no earlier than". The smallest times that satisfy them are
    those of the list schedule, and a later start never makes anything earlier. So the least arrival
    at the sink is the list schedule's delay.
    """

    def __init__(self, model, nodes, horizon, resources):
        self.model = model
        self.horizon = horizon
        self.free = dict.fromkeys(resources, 0)  # when the uses so far of each have ended
        self.runs_at = {(j, k): model.new_bool_var("") for j in range(nodes) for k in range(3)}
        for j in range(nodes):
            model.add_exactly_one(self.runs_at[j, k] for k in range(3))

    def time(self):
        """A new time, in units."""
        return self.model.new_int_var(0, self.horizon, "")

    def use(self, resource, ready, duration, used):
        """The end of a use of a serial resource; one that is not `used` takes no time."""
        end = self.time()
        self.model.add(end >= ready + duration).only_enforce_if(used)
        self.model.add(end >= self.free[resource] + duration).only_enforce_if(used)
        after = self.time()
        self.model.add(after >= end).only_enforce_if(used)
        self.model.add(after >= self.free[resource])
        self.free[resource] = after
        return end

    def transfer(self, i, j, data, links):
        """Arrival at node j of what node i has at `data`. links: name -> duration, propagation."""
        for link, (duration, propagation) in links.items():
            used = self.model.new_bool_var("")
            for a, b in ROUTE:  # whether the link is used is a function of the two places
                crossed = used if link in ROUTE[a, b] else ~used
                implied = self.model.add_implication(self.runs_at[i, a], crossed)
                implied.only_enforce_if(self.runs_at[j, b])
            end = self.use(link, data, duration, used)
            arrival = self.time()
            self.model.add(arrival >= end + propagation).only_enforce_if(used)
            self.model.add(arrival >= data)  # not used: the data stays where it was
            data = arrival
        return data


def _units(seconds):
    return round(seconds / UNIT)


def _cpsat_plan(model, n, edges, task):
    """The plan of a task and the sink's arrival."""
    cycles, size, speed, bandwidth, propagation = unpack(n, edges, task)
    run = {(j, k): _units(cycles[j] / speed[k]) for j in cycles for k in speed}
    order = ("up", "wan up", "wan down", "down")  # every route is a subsequence of it
    hold = {
        e: {link: (_units(d / bandwidth[link]), _units(propagation[link])) for link in order}
        for e, d in size.items()
    }
    # One thing after the other, each in its slowest place, with every edge over every link.
    horizon = sum(max(run[j, k] for k in speed) for j in cycles)
    horizon += sum(sum(map(sum, links.values())) for links in hold.values())
    plan = _Plan(model, n + 2, horizon, [0, 1, *bandwidth])
    model.add(plan.runs_at[0, 0] + plan.runs_at[n + 1, 0] == 2)
    finish = {0: 0}
    for j in range(1, n + 2):
        ready = plan.time()
        for i in sorted(a for a, b in size if b == j):
            model.add(ready >= plan.transfer(i, j, finish[i], hold[i, j]))
        if j == n + 1:
            return plan, ready
        finish[j] = plan.time()
        for k in (0, 1):
            end = plan.use(k, ready, run[j, k], plan.runs_at[j, k])
            model.add(finish[j] >= end).only_enforce_if(plan.runs_at[j, k])
        model.add(finish[j] >= ready + run[j, 2]).only_enforce_if(plan.runs_at[j, 2])


def cpsat_solve(n, edges, task):
    """A best placement by constraint programming (OR-tools CP-SAT): (tuple of n ints, seconds).

    Times are whole units. The placement is the one proved optimal in whole units, its delay that of
    `reference_delay`: at most `cpsat_error(n, edges)` above D*. The tie rule is not applied, so
    compare delays, not placements. One worker, fixed seed. Raises RuntimeError where optimality is
    not proved within PATIENCE: a busy machine proves as much.
    """
    from ortools.sat.python import cp_model  # needed here alone: the other oracles do without

    model = cp_model.CpModel()
    plan, arrival = _cpsat_plan(model, n, edges, task)
    model.minimize(arrival)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 1
    solver.parameters.max_deterministic_time = PATIENCE
    status = solver.solve(model)
    if status != cp_model.OPTIMAL:
        raise RuntimeError(f"CP-SAT did not prove optimality: {solver.status_name(status)}")
    x = tuple(
        next(k for k in range(3) if solver.value(plan.runs_at[j, k])) for j in range(1, n + 1)
    )
    delay = reference_delay(n, edges, task, x)
    proved = solver.objective_value * UNIT
    if abs(proved - delay) > cpsat_error(n, edges) / 2 + TIE * delay:
        raise AssertionError(f"the model gives {x} {proved!r} s, the list schedule {delay!r} s")
    return x, delay
