"""xDiT on the CPU with gloo, for tests and demonstrations on machines without a GPU (``--device cpu``).

xDiT supports accelerators only; a handful of its symbols decide that. Replaced here, none of it when ``--device`` is
not given: the platform checks of ``xfuser.envs``, the process groups that ``usp`` takes only with a GPU, device
synchronisation, the choice of attention (torch's flash attention for the CPU, which returns the log-sum-exp that ring
attention needs), and, for xDiT's own runner, the timing and memory calls of ``torch.cuda`` and the device "cuda:n".

Not covered: PipeFusion, whose shape exchange hangs on gloo.
"""

import importlib
import time


def arm(hooks):
    hooks.arm("torch.cuda", _stub_cuda)
    hooks.arm("torch.nn.modules.module", lambda module: _read_cuda_as_cpu(module.Module))
    hooks.arm("torch", _stub_generator)
    hooks.arm("xfuser.envs", _allow_cpu)
    for name in ("xfuser.model_executor.layers.usp", "xfuser.model_executor.layers.usp_legacy"):
        hooks.arm(name, _take_process_groups)
    hooks.arm("xfuser.core.distributed.group_coordinator", _skip_synchronize)
    hooks.arm("xfuser.core.distributed.attention_backend", _use_cpu_flash)
    hooks.arm("xfuser.core.distributed.runtime_state", _choose_cpu_flash)
    hooks.arm("diffusers.pipelines.pipeline_utils", lambda module: _read_cuda_as_cpu(module.DiffusionPipeline))


def _allow_cpu(envs):
    envs.get_device_version = lambda: None
    envs.get_torch_distributed_backend = lambda: "gloo"
    envs._is_cuda = lambda: False
    envs.PACKAGES_CHECKER.packages_info["has_long_ctx_attn"] = True
    # these ask the GPU for its architecture
    envs.PACKAGES_CHECKER._on_mi3xx = envs.PACKAGES_CHECKER._on_rdna4 = lambda: False


def _take_process_groups(usp):
    usp.PROCESS_GROUP = importlib.import_module("yunchang.globals").PROCESS_GROUP


def _skip_synchronize(group_coordinator):
    group_coordinator.synchronize = lambda *_: None


def _use_cpu_flash(backend):
    import torch

    def cpu_flash(query, key, value, dropout_p, is_causal, attention_kwargs=None):
        out, log_sum_exp = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, dropout_p=dropout_p, is_causal=is_causal
        )
        return out, log_sum_exp

    backend.ATTENTION_FUNCTION_REGISTRY[backend.AttentionBackendType.SDPA_FLASH] = cpu_flash


def _choose_cpu_flash(runtime_state):
    backend = runtime_state.AttentionBackendType.SDPA_FLASH
    runtime_state.RuntimeState._select_attention_backend = lambda self, engine_config=None: backend


class _Event:
    """``torch.cuda.Event`` on the host's clock."""

    def __init__(self, *_, **__):
        self._at = None

    def record(self, stream=None):
        self._at = time.perf_counter()

    def synchronize(self):
        pass

    def query(self):
        return True

    def elapsed_time(self, end):
        return (end._at - self._at) * 1000.0


def _stub_cuda(cuda):
    cuda.Event = _Event
    for name in ("synchronize", "empty_cache", "reset_peak_memory_stats", "ipc_collect", "set_device"):
        setattr(cuda, name, lambda *_, **__: None)
    for name in ("memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved"):
        setattr(cuda, name, lambda *_, **__: 0)


def _is_cuda(device):
    return str(device).startswith("cuda")


def _read_cuda_as_cpu(owner):
    original = owner.to

    def to(self, *args, **kwargs):
        args = tuple("cpu" if isinstance(arg, str) and _is_cuda(arg) or _is_cuda_device(arg) else arg for arg in args)
        if "device" in kwargs and _is_cuda(kwargs["device"]):
            kwargs["device"] = "cpu"
        return original(self, *args, **kwargs)

    owner.to = to


def _is_cuda_device(value):
    return type(value).__name__ == "device" and _is_cuda(value)


def _stub_generator(torch):
    original = torch.Generator

    class _Type(type):
        def __call__(cls, device="cpu"):
            return original("cpu" if _is_cuda(device) else device)

        def __instancecheck__(cls, instance):
            return isinstance(instance, original)

    class Generator(metaclass=_Type):
        """``torch.Generator`` that reads a CUDA device as the CPU."""

    torch.Generator = Generator
