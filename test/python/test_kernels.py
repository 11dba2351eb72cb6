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
