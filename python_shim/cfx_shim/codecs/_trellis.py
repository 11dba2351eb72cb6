"""Trellis-coded quantisers on u·v scales: what tcq1 to tcq3 share.

Twice as many levels as ``bits`` bits can tell apart: which half of them an element may choose from depends on the elements
before it, so that a row of levels is one path of a trellis, and the encoder takes the path of least squared error
(Marcellin and Fischer 1990, with Ungerboeck's code of 8 states). On a Gaussian 1, 2 and 3 bits err by .306, .086 and .024 of
the squares, where the best single levels err by .363, .118 and .035; and since the path is chosen by the true error,
whatever the scales are, a closed loop gains more than that (FINDINGS.md).

x is divided by s = u·v of ``_log_scales`` (the mean magnitude). Levels l[0] < … < l[2^(bits+1) - 1] over s, those of least
squared error for a Gaussian, are in four subsets: level i is in subset i mod 4. Each element has one trellis bit t and
``bits`` - 1 bits of an index k. With t', t'', t''' the trellis bits of the elements one, two and three before it, it has level

    i = 4·k + 2·(t xor t' xor t''') + t''

A path goes through 256 channels side by side of one token, the last of a token perhaps through fewer; before its first element
there are zeros.

Payload of a block of N tokens by C channels: the scales (2·N + C bytes), one bit plane of trellis bits, then ``bits`` - 1 bit
planes of k, lowest bit first; each plane N · ceil(C / 8) bytes. As many bytes as ``_lloyd_max``'s.

The encoder takes x, bounded by ±64·s so that no sum passes float32, and the squares of x - s·l in float32, added in the order of
channels. Of two levels of a subset with the same error it takes the lower one, of two branches that of t''' = 0, at a path's end
of two states the lower one; NaN is no less than anything.
"""

import torch

from . import _bit_planes, _log_scales

PATH = 256
# after an element: the trellis bits t + 2·t' + 4·t''
STATES = 8
_SUBSETS, _BOUND = 4, 64.0
_MEAN = 0.7978845608028654  # of |x| for a standard Gaussian
# the upper half; found by Lloyd's algorithm for whole paths
_GAUSSIAN = {
    1: (0.3512, 1.1995),
    2: (0.1938, 0.6001, 1.0707, 1.8682),
    3: (0.1010, 0.2727, 0.4812, 0.6908, 0.9426, 1.2459, 1.6937, 2.4024),
}


def levels(bits: int):
    """Over s, rising."""
    upper = tuple(level / _MEAN for level in _GAUSSIAN[bits])
    return (*(-level for level in reversed(upper)), *upper)


def subset(window: int) -> int:
    """Of an element with trellis bit t, ``window`` being t + 2·t' + 4·t'' + 8·t'''."""
    t, one, two, three = (window >> place & 1 for place in range(4))
    return 2 * (t ^ one ^ three) + two


# of an element, by its window
_SUBSET_OF = tuple(subset(window) for window in range(2 * STATES))


class Trellis:
    """The codec of ``bits`` bits an element; its methods are what ``codecs`` asks of a codec's module."""

    def __init__(self, bits: int):
        self._bits = bits
        self._levels = levels(bits)

    def payload_bytes(self, tokens: int, channels: int, item_bytes: int) -> int:
        return _log_scales.scale_bytes(tokens, channels) + self._bits * _bit_planes.plane_bytes(tokens, channels)

    def encode(self, x, payload, energy=None, channel_scales=None):
        return self._encode(x, payload, energy, _bit_planes.pack, channel_scales)

    def encode_reference(self, x, payload, energy=None):
        return self._encode(x, payload, energy, _bit_planes.pack_reference)

    def decode(self, payload, tokens: int, channels: int):
        planes = self._planes(payload, tokens, channels)
        trellis, *index = (_bit_planes.unpack_reference(plane, tokens, channels).to(torch.uint8) for plane in planes)
        level = torch.empty(trellis.shape, dtype=torch.uint8, device=payload.device)
        for paths, room in zip(_paths(trellis), _paths(level)):
            before = [torch.nn.functional.pad(paths, (back, 0))[..., : paths.shape[3]] for back in (1, 2, 3)]
            room.copy_(2 * (paths ^ before[0] ^ before[2]) + before[1])
        for bit, plane in enumerate(index):
            level += plane << (2 + bit)
        values = torch.tensor(self._levels, device=payload.device)[level.int()]
        return values.mul_(_log_scales.read(payload, tokens, channels))

    decode_reference = decode

    def _encode(self, x, payload, energy, pack, channel_scales=None):
        tokens, channels = x.shape[1:]
        non_finite = _log_scales.write(x.abs(), payload, energy, channel_scales)
        scale = _log_scales.read(payload, tokens, channels)
        # trellis bit + 2 · index
        codes = torch.empty(x.shape, dtype=torch.uint8, device=x.device)
        for paths, scales, room in zip(_paths(x), _paths(scale), _paths(codes)):
            room.copy_(self._best(paths, scales))
        for bit, plane in enumerate(self._planes(payload, tokens, channels)):
            plane.copy_(pack((codes >> bit & 1).bool()))
        return non_finite

    def _best(self, x, scale):
        """Codes of the best paths, [..., T] uint8, for ``x`` and ``scale`` [..., T]."""
        error, index = self._of_subsets(x, scale)
        subsets = torch.tensor(_SUBSET_OF, device=x.device)
        # [..., T, t''', 2·t'' + t' of the state before, t]
        by_window = error[..., subsets.view(2, STATES).flatten()].unflatten(-1, (2, STATES // 2, 2))
        cost = torch.full((*x.shape[:-1], STATES), torch.inf, device=x.device)
        cost[..., 0] = 0.0
        from_high = []
        for step in by_window.unbind(dim=-4):
            low, high = (cost.unflatten(-1, (2, STATES // 2, 1)) + step).unbind(dim=-3)
            from_high.append(high < low)
            cost = torch.where(from_high[-1], high, low).flatten(-2)
        state, least = torch.zeros_like(cost[..., :1], dtype=torch.int64), cost[..., :1]
        for other in range(1, STATES):
            better = cost[..., other, None] < least
            state, least = torch.where(better, other, state), torch.where(better, cost[..., other, None], least)
        windows = []
        for oldest in reversed(torch.stack(from_high).flatten(-2).long().mul_(STATES).unbind()):
            windows.append(state + oldest.gather(-1, state))
            # what was the element before is the first of the window before
            state = windows[-1] >> 1
        window = torch.cat(windows[::-1], dim=-1)
        chosen = index.gather(-1, subsets[window].unsqueeze(-1)).squeeze(-1)
        return (window & 1) + 2 * chosen

    def _of_subsets(self, x, scale):
        """The least squared error [..., T, 4] of any level of a subset, and its index there."""
        bound, least, index = scale * _BOUND, None, None
        x = torch.where(x > bound, bound, torch.where(x < -bound, -bound, x))
        for k in range(len(self._levels) // _SUBSETS):
            errors = [x - scale * level for level in self._levels[_SUBSETS * k : _SUBSETS * (k + 1)]]
            error = torch.stack(errors, dim=-1).square_()
            if least is None:
                least, index = error, torch.zeros_like(error, dtype=torch.int64)
            else:
                better = error < least
                least, index = torch.where(better, error, least), torch.where(better, k, index)
        return least, index

    def _planes(self, payload, tokens, channels):
        start, size = _log_scales.scale_bytes(tokens, channels), _bit_planes.plane_bytes(tokens, channels)
        return [payload[:, start + plane * size : start + (plane + 1) * size] for plane in range(self._bits)]


def _paths(values):
    """Views [B, N, paths, T] of ``values`` [B, N, C]: the whole paths, and then what is left."""
    whole = values.shape[2] // PATH * PATH
    for part, length in ((values[:, :, :whole], PATH), (values[:, :, whole:], values.shape[2] - whole)):
        if part.shape[2]:
            yield part.unflatten(2, (-1, length))
