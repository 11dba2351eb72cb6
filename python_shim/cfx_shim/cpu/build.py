"""Compile the kernels with numba into one object file, which ``library`` keeps on disk.

Of what numba makes, the object keeps each kernel's plain function, ``int kernel(result*, error*, arguments …)``, and
drops the wrapper that would call into numba and Python: loading it takes neither numba nor a pickle.
"""

from llvmlite import binding
from numba import cfunc, types

from . import decode, encode, history, int4, low_rank, low_rank_decode, per_token, statistics, topk


def compiled(machine, kernels, arguments):
    """The object file, as bytes, of the named kernels, which take so many whole numbers and give one. Takes seconds."""
    whole = None
    for name in kernels:
        code = _code_of(name, types.int64(*[types.int64] * arguments))
        if whole is None:
            whole = code
        else:
            whole.link_in(code)
    passes = binding.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(whole, binding.create_pass_builder(machine, binding.create_pipeline_tuning_options(speed_level=3)))
    return machine.emit_object(whole)


def _code_of(name, signature):
    """The kernel's module in LLVM's terms; nothing but the kernel, under its own name, is visible outside it."""
    files = (statistics, history, encode, decode, per_token, topk, int4, low_rank, low_rank_decode)
    function = next(getattr(file, name) for file in files if hasattr(file, name))
    code = binding.parse_assembly(cfunc(signature, error_model="numpy")(function).inspect_llvm())
    for each in code.functions:
        if each.is_declaration:
            continue
        if name in each.name and not each.name.startswith("cfunc."):
            each.name = name
        else:
            each.linkage = "internal"
    return code
