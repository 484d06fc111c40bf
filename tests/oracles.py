"""Slow, plain, independent oracles of the offloading problem, for the tests to compare with.

Written only from the text of the formulation; nothing here imports the package under test.

Arguments, everywhere:
- ``n``: number of subtasks, numbered 1..n in a topological order; 0 is the source and n+1 the sink.
- ``edges``: list of pairs (i, j), i < j, sorted by (j, i).
- ``task``: 1-D float vector, SI units: w_1..w_n (cycles), the bytes of each edge in the order of ``edges``,
  f_0 f_1 f_2 (cycles/s), B_up B_down B_wan (bytes/s), tau_wireless tau_wan (s). Length n + len(edges) + 8.
- a placement ``x``: n integers, 0 = end device, 1 = edge server, 2 = cloud server.

Delays are in seconds.
"""

import itertools

import numpy as np

TIE = 1e-9  # placements with D <= D* (1 + TIE) are tied; the lexicographically smallest of them is the label

# The links a transfer crosses, one after the other: the device reaches the cloud through the edge.
ROUTE = {
    (0, 0): [],
    (0, 1): ["up"],
    (0, 2): ["up", "wan up"],
    (1, 0): ["down"],
    (1, 1): [],
    (1, 2): ["wan up"],
    (2, 0): ["wan down", "down"],
    (2, 1): ["wan down"],
    (2, 2): [],
}


def unpack(n, edges, task):
    """Name the entries of a task.

    Returns five dicts: cycles[j] for j in 1..n, size[i, j] in bytes, speed[k] in cycles/s for k in 0..2, and
    bandwidth[link] in bytes/s and propagation[link] in s for the links up, down, wan up and wan down.
    """
    edges = [(int(i), int(j)) for i, j in edges]
    values = [float(v) for v in task]
    if len(values) != n + len(edges) + 8:
        raise ValueError(f"a task of {n} subtasks and {len(edges)} edges has {n + len(edges) + 8} entries")
    if edges != sorted(edges, key=lambda e: (e[1], e[0])) or not all(0 <= i < j <= n + 1 for i, j in edges):
        raise ValueError("edges must be pairs i < j within 0..n+1, sorted by (j, i)")
    cycles = dict(zip(range(1, n + 1), values[:n], strict=True))
    size = dict(zip(edges, values[n : n + len(edges)], strict=True))
    f_0, f_1, f_2, b_up, b_down, b_wan, tau_wireless, tau_wan = values[n + len(edges) :]
    speed = {0: f_0, 1: f_1, 2: f_2}
    bandwidth = {"up": b_up, "down": b_down, "wan up": b_wan, "wan down": b_wan}
    propagation = {"up": tau_wireless, "down": tau_wireless, "wan up": tau_wan, "wan down": tau_wan}
    return cycles, size, speed, bandwidth, propagation


def reference_delay(n, edges, task, x):
    """Delay D(x) of one placement, a float in seconds: the formulation's rules one by one, in plain Python."""
    cycles, size, speed, bandwidth, propagation = unpack(n, edges, task)
    if len(x) != n:
        raise ValueError(f"a placement of {n} subtasks, not {len(x)}")
    # The source and the sink stay on the end device and cost no cycles.
    place = {0: 0, n + 1: 0}
    for j in range(1, n + 1):
        place[j] = int(x[j - 1])
    # Six resources serve one thing at a time. The cloud's processor is elastic, so it is not among them.
    free = {"device": 0.0, "edge": 0.0, "up": 0.0, "down": 0.0, "wan up": 0.0, "wan down": 0.0}
    processor = {0: "device", 1: "edge"}
    finish = {0: 0.0}
    # Resources serve in the order of subtask numbers (the sink last) ...
    for j in range(1, n + 2):
        ready = 0.0
        # ... and for one subtask in the order of its predecessors' numbers.
        for i in sorted(a for a, b in size if b == j):
            data = finish[i]
            for link in ROUTE[place[i], place[j]]:  # empty where both are in one place: no transfer
                leave = max(data, free[link])
                end = leave + size[i, j] / bandwidth[link]
                free[link] = end
                data = end + propagation[link]  # the second hop's ready time is the first hop's arrival
            ready = max(ready, data)
        if j == n + 1:
            return ready  # when the sink's last input has arrived on the device
        start = ready
        if place[j] in processor:
            start = max(ready, free[processor[place[j]]])
        finish[j] = start + cycles[j] / speed[place[j]]
        if place[j] in processor:
            free[processor[place[j]]] = finish[j]


def pick(placements, delays):
    """Index of the label: the first placement tied with the best.

    ``placements`` is (P, n) or a list of P tuples, in lexicographic order; ``delays`` is (P,), in seconds.
    """
    delays = np.asarray(delays, dtype=float)
    assert len(placements) == len(delays)
    return int(np.flatnonzero(delays <= delays.min() * (1 + TIE))[0])


def enumerate_all(n, edges, task):
    """Every placement and its delay, all placements side by side: an array operation for a rule of the text.

    Returns (placements, delays): int8 (3^n, n) in lexicographic order, and float64 (3^n,) in seconds. The
    arithmetic is that of `reference_delay`, in the same order, so the two agree to the last bit.
    """
    cycles, size, speed, bandwidth, propagation = unpack(n, edges, task)
    placements = np.indices((3,) * n, dtype=np.int8).reshape(n, -1).T
    count = len(placements)
    device = np.zeros(count, dtype=np.int8)
    place = {0: device, n + 1: device}
    for j in range(1, n + 1):
        place[j] = np.ascontiguousarray(placements[:, j - 1])
    free = {name: np.zeros(count) for name in (0, 1, *bandwidth)}  # 0 and 1: the device's and the edge's processor
    finish = {0: np.zeros(count)}
    ready = {j: np.zeros(count) for j in range(1, n + 2)}
    served = 0
    for j in range(1, n + 2):
        while served < len(edges) and edges[served][1] == j:  # sorted by (j, i): the order of service
            i = edges[served][0]
            a, b = place[i], place[j]
            data = finish[i]
            # A route is a subsequence of these four links, whichever two places it joins.
            crosses = [
                ("up", (a == 0) & (b != 0)),
                ("wan up", (a != 2) & (b == 2)),
                ("wan down", (a == 2) & (b != 2)),
                ("down", (a != 0) & (b == 0)),
            ]
            for link, used in crosses:
                end = np.maximum(data, free[link]) + size[i, j] / bandwidth[link]
                free[link] = np.where(used, end, free[link])
                data = np.where(used, end + propagation[link], data)
            ready[j] = np.maximum(ready[j], data)
            served += 1
        if j <= n:
            finish[j] = ready[j] + cycles[j] / speed[2]  # right in the cloud, overwritten elsewhere
            for k in (0, 1):
                here = place[j] == k
                end = np.maximum(ready[j], free[k]) + cycles[j] / speed[k]
                finish[j] = np.where(here, end, finish[j])
                free[k] = np.where(here, end, free[k])
    return placements, ready[n + 1]


def enumerate_best(n, edges, task, plain=False):
    """The label x* and its delay by trying all 3^n placements: (tuple of n ints, float seconds).

    ``plain`` calls `reference_delay` 3^n times; otherwise `enumerate_all` does it at once, and the winner's
    delay is computed again with `reference_delay` and must be the same.
    """
    if plain:
        placements = list(itertools.product(range(3), repeat=n))
        delays = [reference_delay(n, edges, task, x) for x in placements]
    else:
        placements, delays = enumerate_all(n, edges, task)
    winner = pick(placements, delays)
    x = tuple(int(k) for k in placements[winner])
    delay = reference_delay(n, edges, task, x)
    if delay != delays[winner]:
        raise AssertionError(f"two evaluations of {x} differ: {delay!r} and {float(delays[winner])!r}")
    return x, delay


def chain_dp(n, task):
    """The label x* and its delay for the chain 0-1-2-...-n+1, in O(n): (tuple of n ints, float seconds).

    ``task`` has n + (n + 1) + 8 entries. On a chain nothing waits, so D(x) is a sum of a cost for each subtask
    and each edge. The cost to go from each subtask and place is computed backwards; then, going forwards, the
    smallest place that can still be completed within D* (1 + 1e-9) is taken, which is the tie rule (to the
    rounding of sums made in another order, about 1e-15 of D*).
    """
    cycles, size, speed, bandwidth, propagation = unpack(n, [(j, j + 1) for j in range(n + 1)], task)

    def move(j, a, b):
        """Seconds for the edge (j - 1, j) from place a to place b."""
        return sum(size[j - 1, j] / bandwidth[link] + propagation[link] for link in ROUTE[a, b])

    def step(j, a, b):
        """Seconds from the end of subtask j - 1 at place a to the end of subtask j at place b."""
        return move(j, a, b) + cycles[j] / speed[b]

    to_go = {n: [move(n + 1, k, 0) for k in range(3)]}  # to_go[j][k]: from the end of subtask j at place k
    for j in range(n - 1, -1, -1):
        to_go[j] = [min(step(j + 1, a, b) + to_go[j + 1][b] for b in range(3)) for a in range(3)]
    limit = to_go[0][0] * (1 + TIE)
    x, spent, here = [], 0.0, 0
    for j in range(1, n + 1):
        costs = [spent + step(j, here, k) + to_go[j][k] for k in range(3)]
        # The minimum itself always qualifies, even where rounding has pushed every cost just over the limit.
        k = next(k for k in range(3) if costs[k] <= max(limit, min(costs)))
        spent, here = spent + step(j, here, k), k
        x.append(k)
    return tuple(x), reference_delay(n, list(size), task, x)


def cpsat_error(n, edges, resolution_s=1e-6):
    """How far above D* the delay found by `cpsat_solve` may be, in seconds.

    For a given placement the delay is the longest path through a graph whose arcs are execution times, link
    holding times and propagation delays. A path has at most n of the first and, an edge crossing two links at
    most, 2 len(edges) of each of the others. Each is rounded to the nearest unit, so by half a unit at most: the
    model's delay is within (n + 4 len(edges)) / 2 units of D(x), for the best placement as for the one returned.
    """
    return (n + 4 * len(edges)) * resolution_s


def cpsat_solve(n, edges, task, resolution_s=1e-6, time_limit_s=60):
    """A best placement by constraint programming (OR-tools CP-SAT): (tuple of n ints, float seconds).

    The model has times in whole units of ``resolution_s``. The order in which a serial resource serves is fixed,
    so each use of it starts no earlier than the end of the uses before it, where present. All constraints are of
    the form "no earlier than"; the smallest times that satisfy them are those of the list schedule, and a later
    start never makes anything earlier, so minimising the sink's arrival gives the list schedule's delay.

    The placement is the one proved optimal in whole units, its delay that of `reference_delay`: at most
    `cpsat_error(n, edges, resolution_s)` above D*. The tie rule is not applied, so compare delays, not placements.
    Raises RuntimeError where optimality is not proved within ``time_limit_s``. One worker, fixed seed.
    """
    from ortools.sat.python import cp_model

    cycles, size, speed, bandwidth, propagation = unpack(n, edges, task)

    def units(seconds):
        return round(seconds / resolution_s)

    # One thing after the other, each in its slowest place, with every edge over every link: nothing ends later.
    horizon = sum(max(units(w / f) for f in speed.values()) for w in cycles.values())
    horizon += sum(units(d / bandwidth[a]) + units(propagation[a]) for d in size.values() for a in bandwidth)

    model = cp_model.CpModel()
    at = {(j, k): model.new_bool_var(f"subtask {j} at {k}") for j in range(1, n + 1) for k in range(3)}
    for j in range(1, n + 1):
        model.add_exactly_one(at[j, k] for k in range(3))
    for end in (0, n + 1):
        for k in range(3):
            at[end, k] = model.new_constant(int(k == 0))

    def time(name):
        return model.new_int_var(0, horizon, name)

    free = dict.fromkeys([0, 1, *bandwidth], 0)  # when the uses so far have ended: 0, then a variable for each use

    def use(resource, ready, duration, used, name):
        """A use of a serial resource, present if ``used``; absent, it takes no time. Returns its end, if present."""
        end, after = time(f"end of {name}"), time(f"{resource} free after {name}")
        model.add(end >= ready + duration).only_enforce_if(used)
        model.add(end >= free[resource] + duration).only_enforce_if(used)
        model.add(after >= end).only_enforce_if(used)
        model.add(after >= free[resource])
        free[resource] = after
        return end

    finish = {0: 0}
    for j in range(1, n + 2):
        ready = time(f"{j} ready")
        for i in sorted(a for a, b in size if b == j):
            data = finish[i]
            for link in ("up", "wan up", "wan down", "down"):
                name = f"({i}, {j}) over {link}"
                used = model.new_bool_var(name)
                for a, b in ROUTE:  # whether the link is used is a function of the two places
                    model.add_implication(at[i, a], used if link in ROUTE[a, b] else ~used).only_enforce_if(at[j, b])
                end = use(link, data, units(size[i, j] / bandwidth[link]), used, name)
                arrival = time(f"arrival of {name}")
                model.add(arrival >= end + units(propagation[link])).only_enforce_if(used)
                model.add(arrival >= data)  # not used: the data stays where it was
                data = arrival
            model.add(ready >= data)
        finish[j] = ready
        if j <= n:
            finish[j] = time(f"{j} finished")
            for k in (0, 1):
                end = use(k, ready, units(cycles[j] / speed[k]), at[j, k], f"subtask {j}")
                model.add(finish[j] >= end).only_enforce_if(at[j, k])
            model.add(finish[j] >= ready + units(cycles[j] / speed[2])).only_enforce_if(at[j, 2])
    model.minimize(finish[n + 1])

    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 1
    solver.parameters.max_time_in_seconds = float(time_limit_s)
    status = solver.solve(model)
    if status != cp_model.OPTIMAL:
        raise RuntimeError(f"CP-SAT did not prove optimality: {solver.status_name(status)}")
    x = tuple(next(k for k in range(3) if solver.value(at[j, k])) for j in range(1, n + 1))
    delay = reference_delay(n, edges, task, x)
    proved = solver.objective_value * resolution_s
    if abs(proved - delay) > cpsat_error(n, edges, resolution_s) / 2 + TIE * delay:
        raise AssertionError(f"the model gives {x} a delay of {proved!r} s, the list schedule {delay!r} s")
    return x, delay
