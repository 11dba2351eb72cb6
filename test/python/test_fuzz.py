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
            assert torch.isfinite(first).all()


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


def _corrupted(rank, collective, codec):
    """Rank 1 receives NaN all over in the first step; what each rank counts and holds after every step."""
    us = RankUnderTest()
    keyframes = []
    read = messages.Reader.read

    def corrupt(reader):
        if rank == 1 and step == 0:
            reader.receive[:, : 6 * 8 * 4] = 0xFF
        return read(reader)

    messages.Reader.read = corrupt
    try:
        for step in range(5):
            blocks = slowly_varying(rank, step, "k", us.blocks(collective, 6, 8))
            (received,) = us.exchange(collective, step, [("k", blocks, Treatment(codec, 1, True))])
            keyframes.append(us.sites()["k", codec]["keyframes"])
            if step > 1:
                assert all(torch.isfinite(block).all() for block in received)
    finally:
        messages.Reader.read = read
    us.bases_agree()
    return keyframes, len(us.fallbacks())


@both
@pytest.mark.parametrize("codec", ["binary", "lm2", "lowrank_fit_r8"])
def test_what_a_receiver_finds_not_finite_in_a_keyframe_makes_all_ranks_send_keyframes(collective, codec):
    # found in one step, told in the next, acted upon by all in the one after it
    assert run_ranks(3, _corrupted, collective, codec) == [[[1, 1, 2, 2, 2], 1]] * 3
