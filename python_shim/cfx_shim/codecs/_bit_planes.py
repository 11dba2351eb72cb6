"""Bit planes: one bit per element, eight channels to a byte.

Bit i of byte j of a token's row is channel 8·j + i; the last byte of a row is filled up with zero bits. A plane of
N tokens by C channels takes N · ceil(C / 8) bytes. On the CPU the packing is numpy's, which is vectorised; elsewhere
it is a weighted sum, which any device can do.
"""

import numpy as np
import torch

_WEIGHTS = (1, 2, 4, 8, 16, 32, 64, 128)


def plane_bytes(tokens: int, channels: int) -> int:
    return tokens * ((channels + 7) // 8)


def pack(bits):
    """``bits`` [B, N, C] bool -> [B, plane_bytes] uint8."""
    batch, tokens, channels = bits.shape
    if bits.device.type == "cpu":
        packed = torch.from_numpy(np.packbits(bits.contiguous().numpy(), axis=-1, bitorder="little"))
        return packed.reshape(batch, plane_bytes(tokens, channels))
    return pack_reference(bits)


def unpack(packed, tokens: int, channels: int):
    """``packed`` [B, plane_bytes] uint8 -> [B, N, C] bool."""
    if packed.device.type == "cpu":
        rows = packed.contiguous().numpy().reshape(packed.shape[0], tokens, -1)
        bits = np.unpackbits(rows, axis=-1, count=channels, bitorder="little")
        return torch.from_numpy(bits).view(torch.bool)
    return unpack_reference(packed, tokens, channels)


def pack_reference(bits):
    batch, tokens, channels = bits.shape
    padded = torch.nn.functional.pad(bits.to(torch.uint8), (0, -channels % 8))
    weights = torch.tensor(_WEIGHTS, dtype=torch.uint8, device=bits.device)
    packed = (padded.reshape(batch, tokens, -1, 8) * weights).sum(dim=-1, dtype=torch.uint8)
    return packed.reshape(batch, plane_bytes(tokens, channels))


def unpack_reference(packed, tokens: int, channels: int):
    weights = torch.tensor(_WEIGHTS, dtype=torch.uint8, device=packed.device)
    bits = packed.reshape(packed.shape[0], tokens, -1, 1).bitwise_and(weights) != 0
    return bits.reshape(packed.shape[0], tokens, -1)[:, :, :channels]
