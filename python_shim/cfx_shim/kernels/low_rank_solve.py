"""Least-squares solutions of ``lowrank_fit``'s search, by conjugate gradients: Gram matrices come as sums of whole numbers.

Products are of float16, which tensor cores multiply and which levels are not seen to need more than.
"""

import triton
import triton.language as tl

# of ``shares``
STEPS = tl.constexpr(1048576.0)


@triton.jit
def ratio(above, below):
    """Elementwise, 0 where it is no number."""
    found = above / below
    return tl.where(tl.abs(found) < float("inf"), found, 0.0)


@triton.jit
def _roots(gram, block, component, rank, K: tl.constexpr):
    """Square roots of the diagonal of the block's [K, K], for ``component`` of any shape; 1 past the rank. No level is 0, so none is."""
    square = tl.load(gram + block * K * K + component * (K + 1)).to(tl.float32)
    return tl.where(component < rank, tl.sqrt(square), 1.0)


@triton.jit
def with_ones(gram, block, rank, K: tl.constexpr):
    """The block's [K, K] with rows and columns scaled to a diagonal of ones; and what rows were divided by, [K, 1]."""
    row, column = tl.arange(0, K)[:, None], tl.arange(0, K)[None, :]
    root = _roots(gram, block, row, rank, K)
    square = tl.load(gram + block * K * K + row * K + column).to(tl.float32)
    return square * (1.0 / root) * (1.0 / _roots(gram, block, column, rank, K)), root


@triton.jit
def solved(square, wanted, ridge, TURNS: tl.constexpr):
    """What times ``square`` [K, K] float16, of ones on the diagonal, is ``wanted`` [K, n], by ``TURNS`` of conjugate gradients, each
    column by itself; and what it has to be multiplied by, [1, n].

    float16 is enough for it, and four turns find levels as good as exact solutions do.
    """
    most = tl.max(tl.abs(wanted), axis=0)[None, :]
    left = ratio(wanted, most)
    found, along = tl.zeros(wanted.shape, tl.float32), left
    energy = tl.sum(left * left, axis=0)[None, :]
    # unrolled, it would hold the matrix in registers
    for _ in tl.range(TURNS, num_stages=1, loop_unroll_factor=1):
        reached = tl.dot(square, along.to(tl.float16)) + along * ridge
        step = ratio(energy, tl.sum(along * reached, axis=0)[None, :])
        found += along * step
        left -= reached * step
        before = energy
        energy = tl.sum(left * left, axis=0)[None, :]
        along = left + along * ratio(energy, before)
    return found, most


@triton.jit
def weights_of(shares, gram_u, square, root, block, rank, ridge, TURNS: tl.constexpr, K: tl.constexpr):
    """``_factor_fit._weights`` of a block, [K, 1], 0 past the rank; ``square`` and ``root`` are ``with_ones`` of V's Gram matrix."""
    component = tl.arange(0, K)[:, None]
    square_u, root_u = with_ones(gram_u, block, rank, K)
    root *= root_u
    wanted = tl.load(shares + block * K + component).to(tl.float32) / STEPS / root
    # a product has 16 columns at least
    found, most = solved((square_u * square).to(tl.float16), tl.broadcast_to(wanted, [K, 16]), ridge, TURNS)
    return tl.where(component < rank, tl.max(found * most, axis=1)[:, None] / root, 0.0)
