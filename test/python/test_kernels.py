"""Kernels give the bytes and the bits of plain torch: see interpreted for what is compared, in Triton's interpreter and, where
there is one, on a GPU."""

import itertools
import json
import os
import subprocess
import sys

import pytest
import torch

pytest.importorskip("triton", reason="kernels need Triton, which this torch comes without")
HERE = os.path.dirname(os.path.abspath(__file__))


# of cases: how many there are at least
CASES = {"alone": 466, "steps": 30, "keyframes": 240, "low rank": 100}


DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(scope="module", params=itertools.product(DEVICES, CASES), ids="-".join)
def differences(request):
    """(kind of cases, case -> what differs)."""
    device, kind = request.param
    command = [sys.executable, "-W", "ignore", os.path.join(HERE, "interpreted"), kind]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=900, env=os.environ | {"CFX_KERNELS_ON": device})
    assert ran.returncode == 0, ran.stderr[-4000:]
    return kind, json.loads(ran.stdout)


def test_payloads_states_and_decoded_values_are_those_of_plain_torch_bit_for_bit(differences):
    kind, found = differences
    assert len(found) > CASES[kind]
    assert {name: what for name, what in found.items() if what} == {}


def test_the_comparison_covers_all_codecs_that_have_kernels(differences):
    from cfx_shim import codecs
    from cfx_shim._contract import CODECS
    from cfx_shim.kernels import formats

    for codec in CODECS:
        form = formats.of(codec)
        # only channel scales can be those of the step before, only what needs no base can be a keyframe
        able = {
            "alone": not isinstance(form, formats.LowRank),
            "steps": hasattr(codecs.load(codec), "CHANNEL_SCALES"),
            "keyframes": form is not None and form.codes(1, True),
            "low rank": isinstance(form, formats.LowRank),
        }
        compared = form is not None and able[differences[0]]
        assert any(name.startswith(f"{codec},") for name in differences[1]) == compared, codec


def _ranks(statistics, environment):
    script = os.path.join(HERE, "rank_digests.py")
    command = [sys.executable, "-W", "ignore", script, statistics]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, env=os.environ | environment)
    assert ran.returncode == 0, ran.stderr[-4000:]
    return json.loads(ran.stdout)


# two collectives, three or four steps behind the keyframe; one launch for q and k and one for v. Of the step before there
# are statistics from the third send of q and k on
LAUNCHES = {
    "exact": {"statistics": 2 * 3 * 2, "encode": 2 * 3 * 2, "decode": 2 * 3 * 2},
    "others": {"statistics": 2 * (2 + 4), "encode": 2 * 4 * 2, "decode": 2 * 4 * 2},
    # statistics for a prediction alone, that of v
    "bytes": {"statistics": 2 * 2, "per token: encode": 2 * 2 * 2, "per token: decode": 2 * 2 * 2},
    "other codes": {"statistics": 2 * 3, "encode": 2 * 3, "decode": 2 * 3, "topk: encode": 2 * 3, "topk: decode": 2 * 3},
    "trellis": {each: 2 * 2 * 2 for each in ("statistics", "encode", "paths", "levels", "decode")},
    # the keyframe itself beside them: that of q and k, exact whatever the others are, has statistics too, that of v has none
    "keyframes": {
        "statistics": 2 * (1 + 2 + 3), "encode": 2 * (1 + 3 * 2), "decode": 2 * (1 + 3 * 2),
        "per token: encode": 2, "per token: decode": 2,
    },  # fmt: skip
}


@pytest.mark.parametrize("statistics", LAUNCHES)
def test_ranks_that_use_kernels_get_and_keep_the_bits_of_ranks_that_do_not_with_one_launch_for_alike_sections(statistics):
    with_kernels, without = _ranks(statistics, {"TRITON_INTERPRET": "1"}), _ranks(statistics, {"TRITON_INTERPRET": ""})
    assert [rank["digests"] for rank in with_kernels] == [rank["digests"] for rank in without]
    assert [rank["launches"] for rank in with_kernels] == [LAUNCHES[statistics]] * 2
    assert [rank["launches"] for rank in without] == [{}, {}]
