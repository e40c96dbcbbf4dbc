"""Where to start: the SSE of every curve at every node of the two rates, and its lowest minima.

Columns depend on the steps only, so one matrix product gives all curves at all nodes. Good fits lie along a curved
valley in the plane of the rates, narrower than the distance of nodes and with several minima of its own: those among
nodes alone miss some, so the floor of the valley is interpolated too.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from massact.fit.bases import Basis
from massact.fit.refine import project

NODE_STARTS = 2  # lowest minima among nodes
VALLEY_STARTS = 5  # lowest minima along the valley's floor
WORTH_AN_EDGE = 4.0  # an edge's best node is a start when its SSE is at most this times the scan's best


class Scan(NamedTuple):
    """Nodes of both rates and the orthonormal weighted columns (node, step) there, without the constant one."""

    p: np.ndarray
    q: np.ndarray
    units: list[np.ndarray]


def starts(basis: Basis, t: np.ndarray, w: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The curve (problem,) each start belongs to, and its rates; y (curve, step) is weighted by w already."""
    scan = _scan(basis, t.tobytes(), w.tobytes(), t.size)
    left = y
    if basis.constant:
        unit = w / np.sqrt(w @ w)
        left = y - (y @ unit)[:, None] * unit
    explained = (left @ scan.units[0].T) ** 2
    for unit in scan.units[1:]:
        explained += (left @ unit.T) ** 2
    sse = np.maximum(np.vecdot(left, left)[:, None] - explained, 0.0).reshape(len(y), scan.p.size, scan.q.size)
    parts = [_among_nodes(scan, sse), _along_edges(scan, sse)]
    if scan.q.size > 1:
        parts.append(_along_valley(scan, sse))
    curve, p, q = (np.concatenate(part) for part in zip(*parts, strict=True))
    return curve, p, q


@lru_cache(maxsize=12)
def _scan(basis: Basis, steps: bytes, weights: bytes, size: int) -> Scan:
    t, w = np.frombuffer(steps, count=size), np.frombuffer(weights, count=size)
    p_nodes, q_nodes = basis.grid(t)
    p, q = (grid.ravel() for grid in np.meshgrid(p_nodes, q_nodes, indexing="ij"))
    p, q = (rate[:, None] for rate in basis.clip(t, p, q))
    columns = [column * w for column in basis.columns(t, p, q)]
    units = project(columns, np.zeros((p.size, size))).orthonormal
    return Scan(p_nodes, q_nodes, units[1:] if basis.constant else units)


def _among_nodes(scan: Scan, sse: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The lowest nodes that are minima of their 3 x 3 neighbours."""
    low = sse.copy()
    np.minimum(low[:, 1:], sse[:, :-1], out=low[:, 1:])
    np.minimum(low[:, :-1], sse[:, 1:], out=low[:, :-1])
    around = low.copy()
    np.minimum(around[:, :, 1:], low[:, :, :-1], out=around[:, :, 1:])
    np.minimum(around[:, :, :-1], low[:, :, 1:], out=around[:, :, :-1])
    curve, node = _lowest(np.where(sse <= around, sse, np.inf).reshape(len(sse), -1), NODE_STARTS)
    return curve, scan.p[node // scan.q.size], scan.q[node % scan.q.size]


def _along_valley(scan: Scan, sse: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The lowest minima along q of the SSE's minimum over p, the latter by a parabola through three nodes."""
    inner = sse[:, int(scan.p[0] == 0) :, int(scan.q[0] == 0) :]
    log_p, q_nodes = np.log(scan.p[scan.p > 0]), scan.q[scan.q > 0]
    lowest = inner.argmin(axis=1)
    middle = np.clip(lowest, 1, log_p.size - 2)
    before, here, after = (np.take_along_axis(inner, (middle + k)[:, None], axis=1)[:, 0] for k in (-1, 0, 1))
    bend = before - 2 * here + after
    curved = (bend > 0) & (lowest == middle)
    slope = np.where(curved, before - after, 0.0)
    bend = np.where(curved, bend, 1.0)
    floor = np.take_along_axis(inner, lowest[:, None], axis=1)[:, 0] - slope**2 / (8 * bend)
    log_rate = log_p[lowest] + slope / (2 * bend) * (log_p[1] - log_p[0])
    walled = np.pad(floor, ((0, 0), (1, 1)), constant_values=np.inf)
    minimum = (floor <= walled[:, :-2]) & (floor <= walled[:, 2:])
    curve, node = _lowest(np.where(minimum, floor, np.inf), VALLEY_STARTS)
    return curve, np.exp(log_rate[curve, node]), q_nodes[node]


def _along_edges(scan: Scan, sse: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best node with p = 0 and the best with q = 0, where they are not hopeless."""
    curves, nodes = [np.zeros(0, dtype=int)], [np.zeros(0, dtype=int)]
    rows, best = np.arange(len(sse)), sse.min(axis=(1, 2))
    for edge, rate, stride in ((sse[:, 0, :], scan.p, 1), (sse[:, :, 0], scan.q, scan.q.size)):
        if rate[0] == 0:
            lowest = edge.argmin(axis=1)
            tried = np.flatnonzero(edge[rows, lowest] <= WORTH_AN_EDGE * best + 1e-12)
            curves.append(tried)
            nodes.append(lowest[tried] * stride)
    node = np.concatenate(nodes)
    return np.concatenate(curves), scan.p[node // scan.q.size], scan.q[node % scan.q.size]


def _lowest(minima: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(curve, index) of the `count` lowest finite entries of each row; `minima` is used up."""
    rows = np.arange(len(minima))
    curves, indices = [], []
    for _ in range(min(count, minima.shape[1])):
        index = minima.argmin(axis=1)
        there = np.isfinite(minima[rows, index])
        curves.append(rows[there])
        indices.append(index[there])
        minima[rows, index] = np.inf
    return np.concatenate(curves), np.concatenate(indices)
