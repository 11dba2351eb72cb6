"""In place of a GPU's driver, one that launches nothing and writes down what it gets: Triton finds and compiles kernels for it."""

import torch
from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase


class Driver(DriverBase):
    """Of a GPU of compute capability 8.0: ``launched`` has (grid, kernel, arguments) of every launch."""

    launched = []

    class utils:  # noqa: N801
        get_device_properties = staticmethod(lambda _: {"max_shared_mem": 166912, "multiprocessor_count": 108, "warpSize": 32})
        load_binary = staticmethod(lambda name, binary, *_: (None, (name, hash(binary)), 0, 0, 1024))

    class launcher_cls:  # noqa: N801
        def __init__(self, source, metadata):
            pass

        def __call__(self, *given):
            *grid, _, function, _, _, _, _ = given[:9]
            Driver.launched.append((grid, function, given[9:]))

    def __init__(self):
        pass

    is_active = classmethod(lambda _: True)
    get_current_target = staticmethod(lambda: GPUTarget("cuda", 80, 32))
    get_current_device = staticmethod(lambda: 0)
    get_current_stream = staticmethod(lambda _: 0)
    get_active_torch_device = staticmethod(lambda: torch.device("cpu"))
    map_python_to_cpp_type = get_benchmarker = get_device_interface = get_empty_cache_for_benchmark = clear_cache = None
