"""What arrives may be anything: no bytes crash a rank, and none poison a base without all ranks knowing."""

import pytest
import torch
from exchanges import COLLECTIVES, RankUnderTest, slowly_varying
from ranks import run_ranks

from cfx_shim import codecs, messages
from cfx_shim._contract import CODECS
from cfx_shim.coding import Section
from cfx_shim.plan import Treatment

LOSSY = [name for name in CODECS if not codecs.load(name).EXACT]
both = pytest.mark.parametrize("collective", COLLECTIVES)
SHAPES = [(1, 1, 1), (2, 7, 10), (1, 33, 130), (3, 40, 64)]


def random_bytes(shape, seed):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", LOSSY)
def test_any_bytes_of_the_right_size_decode_to_the_same_numbers_each_time(name):
    codec = codecs.load(name)
    for batch, tokens, channels in SHAPES:
        size = codec.payload_bytes(tokens, channels, 4)
        for seed in range(8):
            payload = random_bytes((batch, size), seed) if seed else torch.full((batch, size), 0xFF, dtype=torch.uint8)
            before = payload.clone()
            first, again = (codec.decode(payload, tokens, channels) for _ in range(2))
            assert first.shape == (batch, tokens, channels) and first.dtype == torch.float32
            assert torch.equal(first.view(torch.int32), again.view(torch.int32)) and torch.equal(payload, before)
            if codecs.is_finite(codec):
                assert torch.isfinite(first).all()
            elif not torch.isfinite(first).all():
                # what the check of a message looks at
                for block in first:
                    edges = torch.cat([block[0], block[:, 0]])
                    assert torch.isfinite(block).all() or not torch.isfinite(edges).all()


def test_only_float16_scales_can_decode_to_what_is_not_finite():
    assert {name for name in LOSSY if not codecs.is_finite(codecs.load(name))} == {"binary", "int2"}


@pytest.mark.parametrize("codec", ["lm2", "lowrank_fit_r8", "identity", None])
@pytest.mark.parametrize("change", [-16, -1, 1, 16])
def test_a_message_of_the_wrong_size_is_refused_before_anything_moves(codec, change):
    section = Section("k", torch.randn(2, 6, 8), Treatment(codec, 1, True))
    section.open(False, True)
    state = torch.randn(2, 1, 6, 8)
    before = state.clone()
    right = -(-section.bytes // 16) * 16 + 16
    wrong = torch.zeros((2, right + change), dtype=torch.uint8)
    for operation in (messages.write, messages.read):
        with pytest.raises(ValueError, match=f"has {right + change} bytes; expected {right} for k 6 × 8"):
            operation([section], [state], wrong, None)
    assert torch.equal(state, before) and not wrong.any()


def _corrupted(rank, collective, codec, at, byte):
    """Rank 1 receives ``byte`` all over in step ``at``; what each rank counts and holds after every step."""
    us = RankUnderTest()
    keyframes = []
    read = messages.read

    def corrupt(sections, states, receive, own):
        if rank == 1 and step == at:
            receive = receive.clone()
            receive[:, : sections[0].bytes] = byte
        return read(sections, states, receive, own)

    messages.read = corrupt
    try:
        for step in range(8):
            blocks = slowly_varying(rank, step, "k", us.blocks(collective, 6, 8))
            (received,) = us.exchange(collective, step, [("k", blocks, Treatment(codec, 1, True))])
            keyframes.append(us.sites()["k", codec]["keyframes"])
            if step != at and step != at + 1:
                assert all(torch.isfinite(block).all() for block in received)
    finally:
        messages.read = read
    us.bases_agree()
    return keyframes, len(us.fallbacks())


@both
@pytest.mark.parametrize(
    "codec, at, byte", [("binary", 3, 0x7E), ("int2", 3, 0xFF), ("lm2", 0, 0xFF), ("lowrank_fit_r8", 0, 0xFF)]
)
def test_what_a_receiver_finds_not_finite_makes_all_ranks_send_keyframes(collective, codec, at, byte):
    # found in one step, told in the next, acted upon by all in the one after it
    expected = [1] * (at + 2) + [2] * (8 - at - 2)
    assert run_ranks(3, _corrupted, collective, codec, at, byte) == [[expected, 1]] * 3
