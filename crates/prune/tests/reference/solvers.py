"""SparseGPT and ALPS by NumPy, from the papers' equations: what the Rust solvers are held against.

    python3 solvers.py METHOD FOLDER ROWS COLS N M DAMPING

reads FOLDER/weight and FOLDER/gram (float64, row-major) and writes FOLDER/METHOD, the pruned weights.
Straight from the algorithms: no blocks, no scaling but where the paper has it, inverses as written.
"""

import sys

try:
    import numpy as np
except ImportError:
    print("python3 has no numpy")
    sys.exit(77)


def damped(gram, damping):
    """H + lambda * mean(diag H) * I over live features; a dead one gets a diagonal of 1."""
    h, diagonal = gram.copy(), np.diag(gram)
    dead = diagonal == 0
    ridge = damping * diagonal[~dead].mean()
    h[np.diag_indices_from(h)] += ridge
    h[dead, dead] = 1
    return h, dead


def best_of_groups(score, n, m):
    """True where a weight is among the n highest of its m; a stable sort, so ties go low."""
    groups = score.reshape(-1, m)
    rank = np.argsort(np.argsort(-groups, axis=1, kind="stable"), axis=1)
    return (rank < n).reshape(score.shape)


def sparsegpt(w, gram, n, m, damping):
    """Algorithm 1 of arXiv 2301.00774 with a batch of one column."""
    h, dead = damped(gram, damping)
    w = w.copy()
    w[:, dead] = 0
    upper = np.linalg.cholesky(np.linalg.inv(h)).T
    keep = np.zeros(w.shape, bool)
    for j in range(w.shape[1]):
        if j % m == 0:
            cost = w[:, j : j + m] ** 2 / np.diag(upper)[j : j + m] ** 2
            keep[:, j : j + m] = best_of_groups(cost, n, m)
        error = np.where(keep[:, j], 0, w[:, j]) / upper[j, j]
        w[:, j:] -= np.outer(error, upper[j, j:])
    return np.where(keep, w, 0)


def alps(w, gram, n, m, damping, rho=0.1, iterations=300, look=3):
    """Algorithm 1 (ADMM, with the penalty of section 3.2) and algorithm 2 (PCG, section 3.3) of arXiv
    2406.07831, on columns scaled to a unit diagonal (appendix B). W is cols x rows, as there."""
    h, dead = damped(gram, damping)
    scale = np.sqrt(np.diag(h))
    target = (w * scale).T
    target[dead] = 0
    a = h / np.outer(scale, scale)
    values, vectors = np.linalg.eigh(a)
    right = a @ target
    project = lambda x: np.where(best_of_groups(np.abs(x).T, n, m).T, x, 0)
    d, v = target.copy(), np.zeros_like(target)
    seen, moved = project(target) != 0, False
    for step in range(1, iterations + 1):
        b = right - v + rho * d
        free = vectors @ ((vectors.T @ b) / (values + rho)[:, None])
        d = project(free + v / rho)
        v = v + rho * (free - d)
        if step % look:
            continue
        changed = np.count_nonzero(seen != (d != 0))
        fraction = changed / (d.size * n / m)
        seen, moved = d != 0, moved or changed > 0
        if changed == 0 and (moved or rho <= 1e-4):
            break
        if changed == 0:
            rho, d, v = rho / 5, target.copy(), np.zeros_like(target)
        else:
            rho *= 1.3 if fraction > 0.1 else 1.2 if fraction > 0.005 else 1.1
    support = d != 0
    residual = np.where(support, right - a @ d, 0)
    direction, square = residual.copy(), (residual**2).sum(0)
    for _ in range(10):  # the paper's ten; diag(a) is one, so the preconditioner is the identity
        image = a @ direction
        curvature = (direction * image).sum(0)
        step = np.divide(square, curvature, out=np.zeros_like(square), where=curvature > 0)
        d = d + step * direction
        residual = np.where(support, residual - step * image, 0)
        new = (residual**2).sum(0)
        ratio = np.divide(new, square, out=np.zeros_like(new), where=square > 0)
        direction, square = residual + ratio * direction, new
    return (d / scale[:, None]).T


def main():
    method, folder = sys.argv[1:3]
    rows, cols, n, m = map(int, sys.argv[3:7])
    weight = np.fromfile(f"{folder}/weight").reshape(rows, cols)
    gram = np.fromfile(f"{folder}/gram").reshape(cols, cols)
    solve = {"sparsegpt": sparsegpt, "alps": alps}[method]
    solve(weight, gram, n, m, float(sys.argv[7])).astype(np.float64).tofile(f"{folder}/{method}")


main()
