"""lowrank_fit: low rank with factors of 2 bits, each fitted to the other as it was rounded. Ours, for 1 to 2 % of the bytes.

Where so few bytes are left, most of a residual stays behind whatever one sends, so ranks count and their precision does
not: 2 bits for twice the rank of 4. What rounding one factor loses, the other takes up: V is the least-squares fit to U
*as stored*, then U to V as stored, in turn. Tokens and channels whose values are large or small as a whole say so in 2
bits each, which is worth more than one rank.

Payload of a block of N tokens by C channels at rank r (``_low_rank`` says which; 128 at most), in this order:

- unit: one little-endian bfloat16,
- weights: r bytes w, 0 to 48,
- classes of tokens: ceil(N / 4) bytes, of channels: ceil(C / 4) bytes; 2 bits each, for the factor 5, 7, 10 or 14,
- U: r rows of ceil(N / 4) bytes, component by component, V: r rows of ceil(C / 4) bytes; 2 bits for -3, -1, 1 or 3.

Decoded value: unit · sum over k of (class · U)[n, k] · (w · class · V)[k, c]. The sum is one of whole numbers: each
factor has at most 11 bits and no sum more than 24, so a matrix product in float32 (or TF32) is exact and has the same
bits in any order of summation, on any device and for any batch.

Against ``lowrank_int4`` at the same bytes (1 % of 16 bits, closed loop, exact keyframes): error ×.80 and ×.85 on k and v of
scenes-flux at 28 and 10 steps, ×.79 on shapes-pixart at 10; FINDINGS.md has what was tried and left out. With classes known
from what was decoded before, and so free, the error would be 4 to 5 % lower.

Fitting, by the sender alone and block by block: subspace iteration from a fixed start (2 rounds), then 9 rounds in each of
which the weights are the best ones for U and V as they are, and classes and codes of U and then of V are solved for and
rounded: all at once, and in the last round part by part, so that what rounding loses in one part of the components is
taken up by the parts after it. That last one matters most for a block of low rank.
"""

import functools

import torch

from . import _fields, _low_rank, _values

# rounds of the search for a subspace, and of the fit; parts that the last of these rounds a factor's columns in
_STARTS, _ROUNDS, _PARTS = 2, 9, 4
_MOST_RANK = 128
_MOST_WEIGHT = 48.0
_CLASSES = (5.0, 7.0, 10.0, 14.0)
# the class of what is as large as the others; classes are √2 apart
_CLASS_UNIT = 8.4
# half the step of the best four evenly spaced levels for a Gaussian of variance 1 (Max 1960)
_LEVEL_UNIT = 0.498
# 3 · 14 times as much times the weight, times the rank: 1.1e7, below 2^24
_MOST_SUM = (3 * _CLASSES[-1]) ** 2 * _MOST_WEIGHT * _MOST_RANK
# of the mean square of a column, added to a Gram matrix before it is factored: for a fit, and only to make it possible
_RIDGE, _LEAST_RIDGE = 1e-4, 1e-5


class LowRankFit:
    """The codec of one size; its methods are what ``codecs`` asks of a codec's module."""

    EXACT = False

    def __init__(self, size: str):
        self._size = size

    def _layout(self, tokens, channels):
        """The rank, and the bytes of the payload's parts in their order."""
        rows = _fields.row_bytes(tokens, 2), _fields.row_bytes(channels, 2)
        fitting = _low_rank.rank(self._size, tokens, channels, 1 + sum(rows), 2 + sum(rows))
        rank = min(fitting, _MOST_RANK)
        return rank, (2, rank, *rows, rank * rows[0], rank * rows[1])

    def payload_bytes(self, tokens: int, channels: int, item_bytes: int) -> int:
        return sum(self._layout(tokens, channels)[1])

    def encode(self, x, payload):
        rank, sizes = self._layout(*x.shape[1:])
        x, non_finite = _values.finite(x)
        # a matrix product in the precision that autocast chooses would be none
        with torch.autocast(x.device.type, enabled=False):
            for block, room in zip(x, payload):
                unit, weights, u, v = _fit(block, rank)
                parts = room.split(sizes)
                parts[0].copy_(_values.to_bfloat16(unit))
                parts[1].copy_(weights.to(torch.uint8))
                for (classes, codes), part in zip((u, v), (2, 3)):
                    parts[part].copy_(_fields.pack(classes[None, None], 2)[0])
                    parts[part + 2].copy_(_fields.pack(codes.T[None], 2)[0])
                non_finite = non_finite | ~(unit.amax() < torch.finfo(torch.float32).max / _MOST_SUM)
        return non_finite

    def decode(self, payload, tokens: int, channels: int):
        rank, sizes = self._layout(tokens, channels)
        unit, weights, *parts = payload.split(sizes, dim=1)
        factors = []
        for length, classes, codes in ((tokens, parts[0], parts[2]), (channels, parts[1], parts[3])):
            classes = _class_factor(_fields.unpack(classes, 1, length, 2))
            factors.append(_level(_fields.unpack(codes, rank, length, 2)).mul_(classes))
        u, v = factors
        v.mul_(weights.float().clamp_(max=_MOST_WEIGHT).unsqueeze(2))
        with torch.autocast(payload.device.type, enabled=False):
            total = torch.bmm(u.transpose(1, 2), v)
        return total.mul_(_values.from_bfloat16(unit, _MOST_SUM, payload.shape[0], 1, 1))

    encode_reference, decode_reference = encode, decode


def _level(codes):
    return codes.float().mul_(2.0).sub_(3.0)


def _class_factor(classes):
    return torch.tensor(_CLASSES, device=classes.device)[classes.int()]


def _fit(x, rank):
    """``x`` [N, C] float32: unit [1], weights [r], and of U and of V the (classes [L], codes [L, r])."""
    largest = x.abs().amax().clamp_min(torch.finfo(torch.float32).tiny)
    x = x / largest
    factors = _factors(x.device)
    u = factors.rounded(_subspace(x, rank))
    v = factors.rounded(_solved(_gram(u.whole), u.whole.T @ x).T)
    scaled_by, gram = x @ v.whole, _gram(v.whole)
    for parts in (1,) * (_ROUNDS - 1) + (_PARTS,):
        weights = _weights(_gram(u.whole) * gram, (scaled_by * u.whole).sum(dim=0))
        u = factors.nearer(u, scaled_by * weights, gram * torch.outer(weights, weights), parts)
        other = u.whole * weights
        v = factors.nearer(v, x.T @ other, _gram(other), parts)
        scaled_by, gram = x @ v.whole, _gram(v.whole)
    weights = _weights(_gram(u.whole) * gram, (scaled_by * u.whole).sum(dim=0))
    sizes = weights.abs()
    unit = sizes.amax().reshape(1) / _MOST_WEIGHT
    sizes = torch.where(unit > 0, sizes / unit, 0.0).round_().clamp_(0, _MOST_WEIGHT)
    return unit * largest, sizes, u.stored, v.times(torch.where(weights < 0, -1.0, 1.0)).stored


class _Factor:
    """A factor as it is stored: classes [L] int, levels [L, r] of -3, -1, 1 and 3, and ``whole`` [L, r], their product."""

    def __init__(self, classes, size, levels):
        self._classes, self._size, self.levels = classes, size, levels
        self.whole = levels * size

    def times(self, signs):
        """The same with columns turned by ``signs`` [r]."""
        return _Factor(self._classes, self._size, self.levels * signs)

    @property
    def stored(self):
        """(classes [L], codes [L, r])."""
        return self._classes, self.levels.add(3.0).mul_(0.5).to(torch.int32)


class _Factors:
    """How factors are rounded, with its constants on ``device``."""

    def __init__(self, device):
        self._sizes = torch.tensor(_CLASSES, device=device).unsqueeze(1)
        self._edges = torch.tensor([(low * high) ** 0.5 for low, high in zip(_CLASSES, _CLASSES[1:])], device=device)

    def rounded(self, values):
        """``values`` [L, r] of any scale: rows by their class, columns by their own deviation."""
        energy = values.square().mean(dim=1)
        classes, size = self._classes(energy.div_(energy.mean()).sqrt_().mul_(_CLASS_UNIT))
        rest = values / size
        return _Factor(classes, size, _nearest(rest / rest.square().mean(dim=0).sqrt_().mul_(2 * _LEVEL_UNIT)))

    def nearer(self, factor, target, gram, parts):
        """``factor`` [L, r] brought nearer to x [L, M] as the product with another one, o [M, r].

        ``target`` is x·o and ``gram`` oᵀ·o. First each class, for the levels as they are; then the levels, part by part of
        the columns: the least-squares solution for a part with all others as they are, rounded.
        """
        levels = factor.levels
        reach = torch.linalg.vecdot(levels @ gram, levels)
        classes, size = self._classes(torch.linalg.vecdot(target, levels).div_(reach))
        if parts == 1:
            return _Factor(classes, size, _nearest(_solved(gram, target.T).T.div_(size * 2.0)))
        missed, levels, begin = target - (levels * size) @ gram, levels.clone(), 0
        for part in levels.tensor_split(min(parts, len(gram)), dim=1):
            here = slice(begin, begin + part.shape[1])
            own, before = gram[here, here], part * size
            part.copy_(_nearest(_solved(own, (missed[:, here] + before @ own).T).T.div_(size * 2.0)))
            missed.addmm_(part * size - before, gram[here], alpha=-1.0)
            begin = here.stop
        return _Factor(classes, size, levels)

    def _classes(self, sizes):
        # NaN is the last class
        classes = torch.bucketize(sizes, self._edges)
        return classes, self._sizes[classes]


_factors = functools.cache(_Factors)


def _nearest(steps):
    """Of numbers in steps of two the nearest of -3, -1, 1 and 3, overwriting them; 1 for NaN."""
    return steps.floor_().nan_to_num_(0.0).clamp_(-2.0, 1.0).mul_(2.0).add_(1.0)


def _subspace(x, rank):
    """U [N, r] with orthonormal columns, by iteration from a fixed start."""
    v = _low_rank.start(x.shape[1], rank, x.device)
    for _ in range(_STARTS - 1):
        v = _orthonormal(x.T @ _orthonormal(x @ v))
    # a Cholesky factor cannot tell the columns of a block of lower rank apart
    return torch.linalg.qr(x @ v)[0]


def _orthonormal(y):
    """The columns of ``y`` [L, r] made nearly orthonormal, at a fraction of a QR factorisation's time."""
    return torch.linalg.solve_triangular(_lower(_gram(y), _LEAST_RIDGE), y.T, upper=False).T


def _weights(gram, target):
    """[r]: the weights of the columns of U and V, of either sign, with the least ‖x - U·w·Vᵀ‖; of that, the normal equations."""
    return _solved(gram, target.unsqueeze(1)).squeeze(1).nan_to_num_(0.0, 0.0, 0.0)


def _solved(gram, target):
    """The solution [r, L] for ``gram`` [r, r] and ``target`` [r, L]; anything where the Gram matrix is zero."""
    return torch.cholesky_solve(target, _lower(gram, _RIDGE))


def _lower(gram, ridge):
    gram = gram.clone()
    diagonal = gram.diagonal()
    diagonal.add_(diagonal.mean(), alpha=ridge)
    return torch.linalg.cholesky_ex(gram)[0]


def _gram(factor):
    return factor.T @ factor


of_size = LowRankFit
