"""What the sweep network is trained on: gradients of the delay of its decisions, and of a
teacher's.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from kd_offload.delay import new_times, schedule_node, prepare

SELDOM = 3e-3  # labels less probable are not tried
NEAR = 0.05  # hypotheses this far behind the best still learn


@njit(cache=True, error_model="numpy", inline="always")
def run_from(a, n, first, source, times, x, finish, free, best):
    """Subtasks a.. and the sink in order, from the resources in free[a].

    -> (delay, or inf once `best` is out of reach; next subtask). free (n + 2, 8): row j is when
    resources are free before subtask j, noted only where `best` is inf; row 0 is scratch.
    """
    run, hold, tau, time_to_result, _ = times
    keep = best == np.inf
    now = free[0]
    now[:] = free[a]
    for j in range(a, n + 1):
        if keep:
            free[j] = now
        finish[j] = schedule_node(j, x[j], first, source, times, x, finish, now)
        if finish[j] + time_to_result[j, x[j]] >= best:
            return np.inf, j + 1
    return schedule_node(n + 1, 0, first, source, times, x, finish, now), n + 1


@njit(cache=True, fastmath=True)
def _softmax(logits, p):
    for k in range(p.shape[0]):
        for i in range(p.shape[1]):
            a, b, c = logits[k, i, 0], logits[k, i, 1], logits[k, i, 2]
            top = max(a, max(b, c))
            a, b, c = np.exp(a - top), np.exp(b - top), np.exp(c - top)
            z = 1 / (a + b + c)
            p[k, i, 0], p[k, i, 1], p[k, i, 2] = a * z, b * z, c * z


@njit(cache=True)
def imitation_gradient(logits, labels, share, gradient):
    """Gradient of the mean over tasks of
    -[(1 - share) log sum_k p_k(x*) + share mean_k log p_k(x*)] / n -> that mean.

    logits (B, K, n, 3), labels (B, n) -> gradient, as logits.
    """
    count, hypotheses, n = logits.shape[:3]
    p, likelihood, total = np.empty((hypotheses, n, 3), np.float32), np.empty(hypotheses), 0.0
    for b in range(count):
        _softmax(logits[b], p)
        for k in range(hypotheses):
            likelihood[k] = 0.0
            for i in range(n):
                likelihood[k] += np.log(max(p[k, i, labels[b, i]], np.float32(1e-30)))
        top = likelihood.max()
        mixture = np.exp(likelihood - top)
        total -= (1 - share) * (top + np.log(mixture.sum())) + share * likelihood.mean()
        mixture /= mixture.sum()
        for k in range(hypotheses):
            w = np.float32(((1 - share) * mixture[k] + share / hypotheses) / (count * n))
            for i in range(n):
                for c in range(3):
                    gradient[b, k, i, c] = w * p[k, i, c]
                gradient[b, k, i, labels[b, i]] -= w
    return total / (count * n)


@njit(cache=True)
def distillation_gradient(logits, teacher, temperature, gradient):
    """Of the mean over all entries of T^2 KL(teacher_T || student_T) -> that mean.

    logits, teacher (B, K, n, 3) -> gradient, as logits (Hinton, Vinyals and Dean, arXiv
    1503.02531).
    """
    count, hypotheses, n = logits.shape[:3]
    p, q = np.empty((hypotheses, n, 3), np.float32), np.empty((hypotheses, n, 3), np.float32)
    total, weight = 0.0, np.float32(temperature / (count * hypotheses * n))
    scale = np.float32(1 / temperature)
    for b in range(count):
        _softmax(logits[b] * scale, p)
        _softmax(teacher[b] * scale, q)
        for k in range(hypotheses):
            for i in range(n):
                for c in range(3):
                    s, t = max(p[k, i, c], np.float32(1e-30)), max(q[k, i, c], np.float32(1e-30))
                    total += t * np.log(t / s)
                    gradient[b, k, i, c] = weight * (s - t)
    return total * temperature**2 / (count * hypotheses * n)


@njit(cache=True, error_model="numpy")
def _flips(n, first, source, times, x, p, worth, scratch, gradient):
    """Gradient of one hypothesis, given its sample x (n + 2,) -> `gradient` (n, 3), zero before.

    worth: (least delay, delay of the others' best, worst, weight). Every other label of every
    subtask is tried with the rest of the sample held, unless it is drawn hardly ever.
    """
    least, others, worst, weight = worth
    finish, kept, free = scratch
    delay, _ = run_from(1, n, first, source, times, x, finish, free, np.inf)
    kept[:] = finish
    values = np.empty(3)
    own = _value(min(delay, others) / least - 1, worst)
    for i in range(n):
        if max(p[i, 0], max(p[i, 1], p[i, 2])) > 1 - SELDOM:
            continue
        was = x[i + 1]
        for c in range(3):
            values[c] = own
            if c != was and p[i, c] > SELDOM:
                x[i + 1] = c
                at, after = run_from(i + 1, n, first, source, times, x, finish, free, others)
                finish[i + 1 : after] = kept[i + 1 : after]
                values[c] = _value(min(at, others) / least - 1, worst)
        x[i + 1] = was
        mean = p[i, 0] * values[0] + p[i, 1] * values[1] + p[i, 2] * values[2]
        for c in range(3):
            gradient[i, c] = np.float32(weight * p[i, c] * (values[c] - mean))


@njit(cache=True, inline="always")
def _value(regret, worst):
    return regret / (1 + regret / worst) if regret > 0 else regret


@njit(cache=True, error_model="numpy")
def flip_gradient(n, first, source, tasks, logits, worst, rng, gradient):
    """Gradient of the expected v of the best hypothesis -> mean excess of the best drawn over LB.

    tasks (B, F), logits (B, K, n, 3) -> gradient, as logits. With
    r the regret, v = r / (1 + r / worst): however bad a placement, its v is below `worst`, lest
    tasks of slow links, where a wrong label costs a hundredfold, drown the others. A placement is
    drawn of every hypothesis. Given all other labels of a draw, what a subtask's three labels
    lead to is run, not guessed: the policy gradient with the noise of all but the other labels
    taken out (Rao and Blackwell). Hypotheses more than NEAR behind the best are left as they are.
    """
    count, hypotheses = logits.shape[:2]
    p, x = np.empty((hypotheses, n, 3), np.float32), np.zeros((hypotheses, n + 2), np.uint8)
    times = new_times(n, len(source))
    finish, free, delays = np.zeros(n + 2), np.zeros((n + 2, 8)), np.empty(hypotheses)
    scratch, total = (finish, np.zeros(n + 2), free), 0.0
    for b in range(count):
        prepare(n, first, source, tasks[b], 0, 0, times)
        _softmax(logits[b], p)
        least, second, best = np.inf, np.inf, 0
        for k in range(hypotheses):
            for i in range(n):
                u = rng.random() - p[k, i, 0]
                x[k, i + 1] = 0 if u < 0 else (1 if u < p[k, i, 1] else 2)
            limit = least * (1 + NEAR)
            delays[k], _ = run_from(1, n, first, source, times, x[k], finish, free, limit)
            if delays[k] < least:
                least, second, best = delays[k], least, k
            else:
                second = min(second, delays[k])
        total += least / times.time_to_result[0, 0] - 1
        gradient[b] = 0
        for k in range(hypotheses):
            if delays[k] <= least * (1 + NEAR):
                others = min(second, least * (1 + worst)) if k == best else least
                worth = least, others, worst, 1.0 / count
                _flips(n, first, source, times, x[k], p[k], worth, scratch, gradient[b, k])
    return total / count
