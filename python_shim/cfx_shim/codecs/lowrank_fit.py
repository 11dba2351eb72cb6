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

Fitting, by the sender alone and block by block: subspace iteration from a fixed start (2 rounds); U and V in turn, each
solved for and rounded; then the classes and codes of U and V in turn, rounded part by part, so that what rounding loses in
one part of the components is taken up by the parts after it. The last of these is half of the encoder's time and takes
4 to 5 % off the error.
"""

import torch

from . import _fields, _low_rank, _values

_FITS = 4
_REFITS = 4
# parts that the components of a factor are rounded in: what one part loses by it, the next ones take up
_PARTS = 4
_MOST_RANK = 128
_MOST_WEIGHT = 48.0
_CLASSES = (5.0, 7.0, 10.0, 14.0)
# the class of what is as large as the others; classes are √2 apart
_CLASS_UNIT = 8.4
# half the step of the best four evenly spaced levels for a Gaussian of variance 1 (Max 1960)
_LEVEL_UNIT = 0.498
# 3 · 14 times as much times the weight, times the rank: 1.1e7, below 2^24
_MOST_SUM = (3 * _CLASSES[-1]) ** 2 * _MOST_WEIGHT * _MOST_RANK
# of the mean square of a column, added to the Gram matrix before it is factored
_RIDGE = 1e-4


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
    u, _ = _low_rank.subspace(x, rank)
    for fit in range(_FITS):
        stored_u = _round(u)
        v = _least_squares(_whole(stored_u), x)
        stored_v = _round(v)
        if fit + 1 < _FITS:
            v_whole = _whole(stored_v)
            u = _least_squares(v_whole * _scale(v, v_whole), x.T)
    for _ in range(_REFITS):
        scale = _scales(x, _whole(stored_u), _whole(stored_v))
        stored_u = _refit(stored_u, x, _whole(stored_v) * scale)
        stored_v = _refit(stored_v, x.T, _whole(stored_u) * scale)
    scale = _scales(x, _whole(stored_u), _whole(stored_v))
    unit = scale.amax().reshape(1) / _MOST_WEIGHT
    weights = torch.where(unit > 0, scale / unit, 0.0).round_().clamp_(0, _MOST_WEIGHT)
    return unit * largest, weights, stored_u, stored_v


def _round(factor):
    """``factor`` [L, r] -> (classes [L], codes [L, r])."""
    energy = factor.square().mean(dim=1)
    classes = _classes(torch.where(energy > 0, energy / energy.mean(), 1.0).sqrt() * _CLASS_UNIT)
    rest = factor / _class_factor(classes).unsqueeze(1)
    step = rest.square().mean(dim=0).sqrt() * (2 * _LEVEL_UNIT)
    return classes, _codes(rest, step)


def _refit(stored, x, other):
    """``stored`` (classes [L], codes [L, r]) brought nearer to ``x`` [L, M] as the product with ``other`` [M, r].

    First each class, for the codes as they are; then the codes, part by part: the least-squares solution for a part with
    all others as they are, rounded.
    """
    target, gram = x @ other, _ridged(other.T @ other)
    levels = _level(stored[1])
    reach = ((levels @ gram) * levels).sum(dim=1)
    classes = _classes(torch.where(reach > 0, (target * levels).sum(dim=1) / reach, 0.0))
    size = _class_factor(classes).unsqueeze(1)
    codes, whole = stored[1].clone(), levels * size
    for part in torch.arange(len(gram), device=gram.device).tensor_split(min(_PARTS, len(gram))):
        own = gram[part][:, part]
        rest = target[:, part] - whole @ gram[:, part] + whole[:, part] @ own
        codes[:, part] = _codes(_solved(own, rest.T).T / size, 2.0)
        whole[:, part] = _level(codes[:, part]) * size
    return classes, codes


def _codes(values, step):
    """Of each of ``values`` in steps of ``step``, the nearest of -1.5, -0.5, 0.5 and 1.5 steps as 0 to 3."""
    return (values >= -step).to(torch.int32) + (values >= 0) + (values >= step)


def _classes(size):
    edges = torch.tensor([(low * high) ** 0.5 for low, high in zip(_CLASSES, _CLASSES[1:])], device=size.device)
    return torch.bucketize(size, edges)


def _whole(stored):
    """The whole numbers [L, r] float32 that ``stored`` stands for."""
    classes, codes = stored
    return _level(codes) * _class_factor(classes).unsqueeze(1)


def _scale(factor, whole):
    """[r]: what each column of ``whole`` is best multiplied with to come near ``factor``, both [L, r]; not below 0."""
    return ((factor * whole).sum(dim=0) / whole.square().sum(dim=0)).clamp_min(0.0)


def _scales(x, u, v):
    """[r]: the weights of the columns of ``u`` [N, r] and ``v`` [C, r] with the least ‖x - u·w·vᵀ‖; not below 0."""
    gram = _ridged((u.T @ u) * (v.T @ v))
    return _solved(gram, ((x @ v) * u).sum(dim=0).unsqueeze(1)).squeeze(1).clamp_min(0.0)


def _least_squares(u, x):
    """V [C, r] with the least ‖x - u·Vᵀ‖ for ``u`` [N, r], ``x`` [N, C]."""
    return _solved(_ridged(u.T @ u), u.T @ x).T


def _ridged(gram):
    return gram + torch.eye(len(gram), device=gram.device) * (_RIDGE * gram.diagonal().mean())


def _solved(gram, target):
    """The solution [r, L] for ``gram`` [r, r] and ``target`` [r, L]; should it have none, each row by itself."""
    lower, failed = torch.linalg.cholesky_ex(gram)
    alone = target / gram.diagonal().unsqueeze(1)
    return torch.where(failed == 0, torch.cholesky_solve(target, lower), alone)


of_size = LowRankFit
