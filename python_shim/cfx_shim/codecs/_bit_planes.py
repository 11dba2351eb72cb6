"""Bit planes: one bit per element, eight channels to a byte.

Bit i of byte j of a token's row is channel 8·j + i; the last byte of a row is filled up with zero bits. A plane of
N tokens by C channels takes N · ceil(C / 8) bytes. On the CPU numpy compares, packs and looks up, which is several
times faster than torch's own loops there; elsewhere it is plain torch, which any device can do.
"""

import functools

import numpy as np
import torch

_WEIGHTS = (1, 2, 4, 8, 16, 32, 64, 128)


def plane_bytes(tokens: int, channels: int) -> int:
    return tokens * ((channels + 7) // 8)


def pack_at_least(x, bound):
    """The plane of ``x`` >= ``bound``: ``x`` [B, N, C], ``bound`` a number or of the same shape -> [B, plane_bytes] uint8."""
    if x.device.type != "cpu":
        return pack_reference(x >= bound)
    bound = bound.detach().numpy() if isinstance(bound, torch.Tensor) else bound
    packed = np.packbits(x.detach().numpy() >= bound, axis=-1, bitorder="little")
    return torch.from_numpy(packed).reshape(x.shape[0], -1)


def unpack_as(packed, tokens: int, channels: int, unset: float, set_: float):
    """``packed`` [B, plane_bytes] uint8 -> [B, N, C] float32: ``set_`` where the bit is set, ``unset`` elsewhere."""
    if packed.device.type != "cpu":
        bits = unpack_reference(packed, tokens, channels)
        return torch.where(bits, torch.tensor(set_, device=packed.device), torch.tensor(unset, device=packed.device))
    values = np.take(_bytes_as(unset, set_), packed.numpy(), axis=0)
    return torch.from_numpy(values).reshape(packed.shape[0], tokens, -1)[:, :, :channels].contiguous()


def pack(bits):
    """The plane of ``bits`` [B, N, C] bool -> [B, plane_bytes] uint8."""
    if bits.device.type != "cpu":
        return pack_reference(bits)
    return torch.from_numpy(np.packbits(bits.numpy(), axis=-1, bitorder="little")).reshape(bits.shape[0], -1)


def look_up(planes, tokens: int, channels: int, values):
    """``planes``, lowest bit first, each [B, plane_bytes] uint8 -> [B, N, C] float32: ``values`` [2^planes] at the index."""
    if planes[0].device.type != "cpu":
        return look_up_reference(planes, tokens, channels, values)
    index = None
    for bit, plane in enumerate(planes):
        rows = plane.numpy().reshape(plane.shape[0], tokens, -1)
        bits = np.unpackbits(rows, axis=-1, count=channels, bitorder="little")
        index = bits if index is None else index + (bits << bit)
    return torch.from_numpy(np.take(np.asarray(values, dtype=np.float32), index))


@functools.cache
def _bytes_as(unset, set_):
    """[256, 8] float32: the eight values that each byte stands for."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
    return np.where(bits, np.float32(set_), np.float32(unset))


def pack_reference(bits):
    """``bits`` [B, N, C] bool -> [B, plane_bytes] uint8."""
    batch, tokens, channels = bits.shape
    padded = torch.nn.functional.pad(bits.to(torch.uint8), (0, -channels % 8))
    weights = torch.tensor(_WEIGHTS, dtype=torch.uint8, device=bits.device)
    packed = (padded.reshape(batch, tokens, -1, 8) * weights).sum(dim=-1, dtype=torch.uint8)
    return packed.reshape(batch, plane_bytes(tokens, channels))


def unpack_reference(packed, tokens: int, channels: int):
    """``packed`` [B, plane_bytes] uint8 -> [B, N, C] bool."""
    weights = torch.tensor(_WEIGHTS, dtype=torch.uint8, device=packed.device)
    bits = packed.reshape(packed.shape[0], tokens, -1, 1).bitwise_and(weights) != 0
    return bits.reshape(packed.shape[0], tokens, -1)[:, :, :channels]


def look_up_reference(planes, tokens: int, channels: int, values):
    """See ``look_up``."""
    index = sum(unpack_reference(plane, tokens, channels).int() << bit for bit, plane in enumerate(planes))
    return torch.tensor(values, device=index.device)[index]
