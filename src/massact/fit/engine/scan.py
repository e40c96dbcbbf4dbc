"""Starts of the descents: the lowest minima of each curve's SSE over all nodes of the rates.

The columns depend on the steps only, so one matrix product gives the SSE of all curves at all nodes. About 26 vectors
span the columns, so the product is with these. In the plane of two rates, good fits lie along a curved valley that is
narrower than the distance between nodes and has several minima of its own. Minima among the nodes miss some of these,
so the floor of the valley is interpolated too.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from massact.fit.engine.refine import project
from massact.fit.forms.basis import Basis

NODE_STARTS = 2  # lowest minima among the nodes of two rates, where the valley gives more starts
LONE_STARTS = 5  # the same for one and three rates
VALLEY_STARTS = 5  # lowest minima along the valley's floor
# An edge's best node is a start if its SSE is at most this multiple of the scan's best plus this share of the total.
WORTH_AN_EDGE, EDGE_MATTERS = 4.0, 0.01
NEGLIGIBLE = 1e-10  # directions with eigenvalues below this share of the largest are left out: 1e-5 of a column


class Scan(NamedTuple):
    """Nodes of each rate, and the orthonormal weighted columns at all nodes, without the constant column.

    `directions` (step, direction) is a basis of these columns, and `columns` (column, direction, node) has their
    coordinates in it.
    """

    nodes: list[np.ndarray]
    directions: np.ndarray
    columns: np.ndarray


class Starts(NamedTuple):
    """The curve (problem,) that each start belongs to, its rates (rate, problem) and its SSE in the scan (problem,)."""

    curve: np.ndarray
    rates: np.ndarray
    sse: np.ndarray


def starts(scan: Scan, y: np.ndarray) -> Starts:
    """Starts for curves y (curve, step), already weighted and without their share of the constant column."""
    sse = scan_sse(scan, y).reshape(len(y), *[nodes.size for nodes in scan.nodes])
    plane = len(scan.nodes) == 2
    total = np.vecdot(y, y)
    parts = [_among_nodes(scan, sse, NODE_STARTS if plane else LONE_STARTS), *_along_edges(scan, sse, total)]
    if plane:
        parts.append(_along_valley(scan, sse))
    curve, rates, height = zip(*parts, strict=True)
    return Starts(np.concatenate(curve), np.concatenate(rates, axis=1), np.concatenate(height))


def scan_sse(scan: Scan, y: np.ndarray) -> np.ndarray:
    """SSE (curve, node) of every curve at every node."""
    explained = scan_products(scan, y)
    sse = np.vecdot(y, y)[:, None] - explained[0] ** 2
    for product in explained[1:]:
        sse -= product**2
    return np.maximum(sse, 0.0, out=sse)


def scan_products(scan: Scan, y: np.ndarray) -> np.ndarray:
    """Products (column, curve, node) of every curve with the orthonormal columns at every node."""
    return np.matmul(y @ scan.directions, scan.columns)


def without_constant(y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Weighted y (curve, step) minus its projection on the weights."""
    unit = w / np.sqrt(w @ w)
    return y - (y @ unit)[:, None] * unit


def make_scan(basis: Basis, t: np.ndarray, w: np.ndarray, *, stride: int = 1) -> Scan:
    """The scan of a basis on steps t with weights w (step,) at every `stride`-th node. The last dozen are cached."""
    return _scan(basis, t.tobytes(), w.tobytes(), t.size, stride)


@lru_cache(maxsize=12)
def _scan(basis: Basis, steps: bytes, weights: bytes, size: int, stride: int) -> Scan:
    t, w = np.frombuffer(steps, count=size), np.frombuffer(weights, count=size)
    nodes = [grid[::stride] for grid in basis.grid(t)]
    rates = basis.clip(basis.box(t), np.stack([grid.ravel() for grid in np.meshgrid(*nodes, indexing="ij")]))
    columns = [column * w for column in basis.columns(t, rates)]
    units = project(columns, np.zeros((rates.shape[1], size))).orthonormal[int(basis.constant) :]
    gram = sum(unit.T @ unit for unit in units)
    values, vectors = np.linalg.eigh(gram)
    directions = np.ascontiguousarray(vectors[:, values > NEGLIGIBLE * values[-1]])
    return Scan(nodes, directions, np.stack([np.ascontiguousarray((unit @ directions).T) for unit in units]))


def _among_nodes(scan: Scan, sse: np.ndarray, count: int) -> Starts:
    """The lowest nodes that are minima among their neighbours, including diagonal ones."""
    around = sse
    for axis in range(1, sse.ndim):
        ahead = np.moveaxis(around, axis, 0)
        low = ahead.copy()
        np.minimum(low[1:], ahead[:-1], out=low[1:])
        np.minimum(low[:-1], ahead[1:], out=low[:-1])
        around = np.moveaxis(low, 0, axis)
    curve, node = _lowest(np.where(sse <= around, sse, np.inf).reshape(len(sse), -1), count)
    return _at(scan, curve, node, sse)


def _along_valley(scan: Scan, sse: np.ndarray) -> Starts:
    """The lowest minima along q of the floor: the SSE's minimum over p, from a parabola through three nodes."""
    p, q = scan.nodes
    inner = sse[:, int(p[0] == 0) :, int(q[0] == 0) :]
    log_p, q_nodes = np.log(p[p > 0]), q[q > 0]
    lowest = inner.argmin(axis=1)
    middle = np.clip(lowest, 1, log_p.size - 2)
    before, centre, after = (np.take_along_axis(inner, (middle + k)[:, None], axis=1)[:, 0] for k in (-1, 0, 1))
    bend = before - 2 * centre + after
    curved = (bend > 0) & (lowest == middle)
    slope = np.where(curved, before - after, 0.0)
    bend = np.where(curved, bend, 1.0)
    floor = np.take_along_axis(inner, lowest[:, None], axis=1)[:, 0] - slope**2 / (8 * bend)
    log_rate = log_p[lowest] + slope / (2 * bend) * (log_p[1] - log_p[0])
    walled = np.pad(floor, ((0, 0), (1, 1)), constant_values=np.inf)
    minimum = (floor <= walled[:, :-2]) & (floor <= walled[:, 2:])
    minimum[:, [0, -1]] = False
    curve, node = _lowest(np.where(minimum, floor, np.inf), VALLEY_STARTS)
    every = np.arange(len(sse))
    ends = np.repeat([0, floor.shape[1] - 1], len(sse))
    curve, node = np.r_[curve, every, every], np.r_[node, ends]
    return Starts(curve, np.stack([np.exp(log_rate[curve, node]), q_nodes[node]]), floor[curve, node])


def _along_edges(scan: Scan, sse: np.ndarray, total: np.ndarray) -> list[Starts]:
    """The best node at 0 of each rate that may be 0, where its SSE is low enough to be worth a start."""
    out = []
    bound = WORTH_AN_EDGE * sse.reshape(len(sse), -1).min(axis=1) + EDGE_MATTERS * total
    index = np.arange(sse[0].size).reshape(sse.shape[1:])
    for axis, nodes in enumerate(scan.nodes):
        if nodes[0] == 0:
            edge = np.moveaxis(sse, axis + 1, 0)[0].reshape(len(sse), -1)
            at = np.moveaxis(index, axis, 0)[0].ravel()
            lowest = edge.argmin(axis=1)
            curves = np.flatnonzero(edge[np.arange(len(sse)), lowest] <= bound)
            out.append(_at(scan, curves, at[lowest[curves]], sse))
    return out


def _at(scan: Scan, curve: np.ndarray, node: np.ndarray, sse: np.ndarray) -> Starts:
    """Starts at nodes (problem,), given by their flat index."""
    places = np.unravel_index(node, sse.shape[1:])
    rates = np.stack([nodes[place] for nodes, place in zip(scan.nodes, places, strict=True)])
    return Starts(curve, rates, sse[(curve, *places)])


def _lowest(minima: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(curve, index) of the `count` lowest finite entries of each row. Overwrites `minima`."""
    rows = np.arange(len(minima))
    curves, indices = [], []
    for _ in range(min(count, minima.shape[1])):
        index = minima.argmin(axis=1)
        finite = np.isfinite(minima[rows, index])
        curves.append(rows[finite])
        indices.append(index[finite])
        minima[rows, index] = np.inf
    return np.concatenate(curves), np.concatenate(indices)
