"""Compile the kernels with numba into one object file, which ``library`` keeps on disk.

Of what numba makes, the object keeps each kernel's plain function, ``int kernel(result*, error*, arguments …)``, and
drops the wrapper that would call into numba and Python: loading it takes neither numba nor a pickle.
"""

from llvmlite import binding
from numba import cfunc, types

from . import rows, statistics

_TYPES = {"whole": types.int64, "single": types.float32, "code": types.int32, "none": types.void}


def compiled(machine, signatures):
    """The object file, as bytes, of the kernels of ``library.SIGNATURES``. Takes seconds."""
    whole = None
    for name, (result, arguments) in signatures.items():
        code = _code_of(name, _TYPES[result](*(_TYPES[each] for each in arguments)))
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
    function = getattr(statistics, name, None) or getattr(rows, name)
    code = binding.parse_assembly(cfunc(signature, error_model="numpy")(function).inspect_llvm())
    for each in code.functions:
        if each.is_declaration:
            continue
        if name in each.name and not each.name.startswith("cfunc."):
            each.name = name
        else:
            each.linkage = "internal"
    return code
