"""What every lossy codec must do, whatever its format: run by test_all.py on each codec of the contract."""

import torch

SHAPES = [(1, 5, 16), (1, 7, 10), (3, 4, 3), (1, 1, 64), (2, 9, 2), (1, 1, 2), (3, 33, 130)]
POISON = 0xAB


def noise(shape, seed=0, kind="gauss"):
    generator = torch.Generator().manual_seed(seed)
    if kind == "gauss":
        return torch.randn(shape, generator=generator)
    uniform = torch.rand(shape, generator=generator) - 0.5
    return -torch.sign(uniform) * torch.log1p(-2 * uniform.abs())


def payload_for(codec, x, fill=POISON):
    return torch.full((x.shape[0], codec.payload_bytes(x.shape[1], x.shape[2], 4)), fill, dtype=torch.uint8)


def encoded(codec, x, fill=POISON):
    payload = payload_for(codec, x, fill)
    return payload, codec.encode(x, payload)


def round_trip(codec, x):
    return codec.decode(encoded(codec, x)[0], *x.shape[1:])


def relative_error(codec, x):
    """‖x − D(E(x))‖² / ‖x‖²"""
    return float((x - round_trip(codec, x)).square().sum() / x.square().sum())


def encode_equals_its_reference(codec, x):
    fast, fast_flag = encoded(codec, x)
    slow = payload_for(codec, x)
    slow_flag = codec.encode_reference(x, slow)
    assert torch.equal(fast, slow)
    assert bool(fast_flag) == bool(slow_flag)


def decode_equals_its_reference(codec, x):
    payload, _ = encoded(codec, x)
    fast = codec.decode(payload, *x.shape[1:])
    slow = codec.decode_reference(payload, *x.shape[1:])
    assert fast.dtype == slow.dtype == torch.float32
    assert fast.shape == slow.shape == x.shape
    # as bits: -0.0 and 0.0 are different payloads of a base's digest
    assert torch.equal(fast.contiguous().view(torch.int32), slow.contiguous().view(torch.int32))


def every_payload_byte_is_written(codec, x):
    first, _ = encoded(codec, x, 0x00)
    second, _ = encoded(codec, x, 0xFF)
    assert torch.equal(first, second)


def payload_inside_a_message_is_the_same(codec, x):
    """A section is a strided slice of a buffer: nothing outside it changes, and it decodes from there."""
    alone, _ = encoded(codec, x)
    message = torch.full((x.shape[0], alone.shape[1] + 48), POISON, dtype=torch.uint8)
    room = message[:, 16 : 16 + alone.shape[1]]
    codec.encode(x, room)
    assert torch.equal(room, alone)
    assert torch.all(message[:, :16] == POISON) and torch.all(message[:, 16 + alone.shape[1] :] == POISON)
    assert torch.equal(codec.decode(room, *x.shape[1:]), codec.decode(alone, *x.shape[1:]))


def strided_input_is_read_right(codec, x):
    strided = x.transpose(1, 2).contiguous().transpose(1, 2)
    assert strided.shape == x.shape
    wide = torch.stack([x, x + 1], dim=3)[..., 0]
    for view in (strided, wide):
        before = view.clone()
        payload, _ = encoded(codec, view)
        assert torch.equal(view, before)
        # the order of the sums may follow the layout: the scales agree to float16's precision, not to the bit
        torch.testing.assert_close(codec.decode(payload, *x.shape[1:]), round_trip(codec, x), rtol=2e-3, atol=1e-6)


def batches_are_coded_apart(codec, x):
    payload, _ = encoded(codec, x)
    for index in range(x.shape[0]):
        alone, _ = encoded(codec, x[index : index + 1].clone())
        assert torch.equal(payload[index : index + 1], alone)
        assert torch.equal(codec.decode(payload, *x.shape[1:])[index : index + 1], codec.decode(alone, *x.shape[1:]))
