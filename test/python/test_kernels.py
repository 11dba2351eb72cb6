"""Kernels give the bytes and the bits of plain torch: see interpreted.py for what is compared."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("triton", reason="kernels need Triton, which this torch comes without")
HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.fixture(scope="module")
def differences():
    """Case -> what differs."""
    script = os.path.join(HERE, "interpreted.py")
    ran = subprocess.run([sys.executable, "-W", "ignore", script], capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr[-4000:]
    return json.loads(ran.stdout)


def test_payloads_states_and_decoded_values_are_those_of_plain_torch_bit_for_bit(differences):
    assert len(differences) > 60
    assert {name: what for name, what in differences.items() if what} == {}


def test_the_comparison_covers_all_codecs_that_have_kernels(differences):
    from cfx_shim._contract import CODECS
    from cfx_shim.kernels import formats

    for codec in CODECS:
        assert any(name.startswith(f"{codec},") for name in differences) == (formats.of(codec) is not None), codec


def _ranks(environment):
    script = os.path.join(HERE, "rank_digests.py")
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", script], capture_output=True, text=True, timeout=600, env=os.environ | environment
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    return json.loads(ran.stdout)


def test_ranks_that_use_kernels_get_and_keep_the_bits_of_ranks_that_do_not_with_one_launch_for_alike_sections():
    with_kernels, without = _ranks({"TRITON_INTERPRET": "1"}), _ranks({"TRITON_INTERPRET": ""})
    assert [rank["digests"] for rank in with_kernels] == [rank["digests"] for rank in without]
    # two collectives, three steps behind the keyframe; one launch for q and k and one for v, each to encode and to decode
    assert [rank["launches"] for rank in with_kernels] == [2 * 3 * 2 * 2] * 2
    assert [rank["launches"] for rank in without] == [0, 0]
