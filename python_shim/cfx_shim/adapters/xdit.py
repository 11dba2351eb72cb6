"""xDiT (xfuser): Ulysses and ring attention of ``xfuser/model_executor/layers/usp.py``.

``usp.USP`` is imported by name all over xDiT, but looks its helpers up in its own module at each call, so replacing
the helpers there reaches every caller. Ring attention goes through torch's ``_templated_ring_attention``, which makes
a rotater per call: ours sends compressed blocks.

Roles follow from the order inside one USP call: q, k, v, then tensors that only ride along, then o.
"""

from importlib import metadata

from .._contract import ADAPTERS, TORCH_SINCE
from . import denoising, xdit_cpu

_USP = "xfuser.model_executor.layers.usp"
# torch 2.13 moved the ring out of the first into the second
_RINGS = (
    "torch.distributed.tensor.experimental._attention",
    "torch.distributed.tensor.experimental._context_parallel._attention",
)


def arm(hooks, session):
    if session.run["device"] == "cpu":
        xdit_cpu.arm(hooks)
    if session.run["refusal"]:
        return
    denoising.arm(hooks, session)
    adapter = XDiT(session)
    hooks.arm(_USP, adapter.patch_usp)
    for name in _RINGS:
        hooks.arm(name, adapter.patch_ring)


class XDiT:
    def __init__(self, session):
        self._session = session
        self._usp = None
        self._ring = None

    def patch_usp(self, usp):
        import torch  # which the framework has imported by now

        if _version(torch.__version__) < _version(TORCH_SINCE):
            self._session.problem("CFX_ADAPTER_VERSION", f"torch {torch.__version__} is installed; expected {TORCH_SINCE} or newer")
            return
        found = metadata.version("xfuser")
        facts = ADAPTERS["xdit"]
        if not _version(facts["since"]) <= _version(found) < _version(facts["before"]):
            self._session.problem(
                "CFX_ADAPTER_VERSION",
                f"xfuser {found} is installed; cfx supports {facts['since']} up to, not including, {facts['before']}",
            )
            return
        from .ulysses import UlyssesExchange

        self._usp = usp
        self._session.adapter = self
        ulysses = UlyssesExchange(
            self._session, usp.get_ulysses_parallel_world_size, lambda: usp.PROCESS_GROUP.ULYSSES_PG
        )
        replace = self._session.patches.replace
        replace(usp, "_combined_qkv_all_to_all", ulysses.combined)
        replace(usp, "_combined_gqa_qkv_all_to_all", ulysses.combined)
        replace(usp, "_ft_c_input_all_to_all", ulysses.separate)
        replace(usp, "_ft_c_output_all_to_all", ulysses.output)
        replace(usp, "ring_attn", lambda original: self._ring_exchange().announce(original, self._ring_is_whole_attention))

    def patch_ring(self, module):
        # before torch 2.13 the function is in the first module, since then in the second, which the first re-exports
        if "_create_rotater" in vars(module):
            self._session.patches.replace(module, "_create_rotater", self._ring_exchange().create_rotater)

    def _ring_exchange(self):
        if self._ring is None:
            from .ring import RingExchange  # imports torch, which the framework has imported by now

            self._ring = RingExchange(self._session)
        return self._ring

    def _ring_is_whole_attention(self):
        return self._usp.get_ulysses_parallel_world_size() == 1

    def agreement_group(self):
        from xfuser.core.distributed import get_sp_group

        return get_sp_group().cpu_group

    def participants(self):
        """The ranks that run transformers; ranks that only decode pictures (``vae_parallel_size``) never exchange."""
        import torch.distributed as dist
        from xfuser.core.distributed import get_dit_group

        return dist.get_process_group_ranks(get_dit_group())

    def check(self, session):
        state = self._usp.get_runtime_state()
        if getattr(state.runtime_config, "use_spargeattn_head_balance", False):
            session.problem("CFX_HEAD_BALANCE", "xDiT permutes the heads between steps (--use_spargeattn_head_balance)")
        if getattr(state, "fp8_comms", None) is not None:
            session.problem("CFX_FP8_COMMS", "xDiT sends fp8 itself (--use_fp8_comms)")


def _version(text):
    return tuple(int(part) for part in text.split("+")[0].split(".")[:3] if part.isdigit())
