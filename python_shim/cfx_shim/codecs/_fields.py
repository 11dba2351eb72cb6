"""Fields: 2 or 4 bits an element, 4 or 2 elements to a byte.

A byte's lowest bits hold the first of its elements; the last byte of a row is filled up with zero bits. Plain torch,
which any device can do.
"""

import torch


def row_bytes(length: int, bits: int) -> int:
    return (length * bits + 7) // 8


def pack(codes, bits: int):
    """``codes`` [B, R, L], whole numbers below 2^bits of any dtype -> [B, R · row_bytes] uint8."""
    batch, rows, length = codes.shape
    count = 8 // bits
    padded = torch.nn.functional.pad(codes.to(torch.uint8), (0, -length % count)).reshape(batch, rows, -1, count)
    packed = padded[..., 0]
    for place in range(1, count):
        packed = packed + padded[..., place] * 2 ** (place * bits)
    return packed.reshape(batch, rows * row_bytes(length, bits))


def unpack(packed, rows: int, length: int, bits: int):
    """``packed`` [B, R · row_bytes] uint8 -> [B, R, L] uint8, below 2^bits."""
    packed = packed.reshape(packed.shape[0], rows, -1)
    places = [(packed >> place * bits) & (2**bits - 1) for place in range(8 // bits)]
    return torch.stack(places, dim=3).flatten(2)[:, :, :length]
