"""Import hooks: the callback comes after the module's body, before anyone can take names from it, and once."""

import importlib
import sys

import pytest

from cfx_shim.hooks import ImportHooks


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Writes modules of a package of this test's own; forgets them and the hooks afterwards."""
    package = tmp_path / "hooked_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    meta_path = list(sys.meta_path)

    def write(name, text):
        (package / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        return f"hooked_package.{name}"

    yield write
    sys.meta_path[:] = meta_path
    for name in [name for name in sys.modules if name.split(".")[0] == "hooked_package"]:
        del sys.modules[name]


@pytest.fixture
def hooks():
    hooks = ImportHooks(lambda module, error: hooks.errors.append((module, str(error))))
    hooks.errors = []
    return hooks


def test_a_callback_runs_after_the_body_and_before_the_importer_takes_names(modules, hooks):
    late = modules("late", "value = 'original'")
    taker = modules("taker", "from hooked_package.late import value")
    seen = []

    def patch(module):
        seen.append(module.value)
        module.value = "patched"

    hooks.arm(late, patch)
    assert seen == []
    assert importlib.import_module(taker).value == "patched"
    assert seen == ["original"]


def test_a_module_that_is_already_there_is_called_at_once(modules, hooks):
    early = importlib.import_module(modules("early", "value = 1"))
    seen = []
    hooks.arm(early.__name__, seen.append)
    assert seen == [early]


def test_callbacks_run_once_and_in_order_even_when_the_module_is_imported_and_reloaded(modules, hooks):
    name = modules("often", "value = 1")
    seen = []
    hooks.arm(name, lambda module: seen.append("first"))
    hooks.arm(name, lambda module: seen.append("second"))
    importlib.reload(importlib.import_module(name))
    importlib.import_module(name)
    assert seen == ["first", "second"]


def test_a_callback_that_raises_does_not_break_the_import(modules, hooks):
    name = modules("fragile", "value = 1")
    seen = []
    hooks.arm(name, lambda module: 1 / 0)
    hooks.arm(name, lambda module: seen.append(module.value))
    assert importlib.import_module(name).value == 1
    assert hooks.errors == [(name, "division by zero")] and seen == [1]


def test_a_module_that_fails_to_import_fails_as_it_does_without_us(modules, hooks):
    name = modules("broken", "raise RuntimeError('its own fault')")
    seen = []
    hooks.arm(name, seen.append)
    hooks.arm("hooked_package.nowhere", seen.append)
    with pytest.raises(RuntimeError, match="its own fault"):
        importlib.import_module(name)
    with pytest.raises(ModuleNotFoundError, match="hooked_package.nowhere"):
        importlib.import_module("hooked_package.nowhere")
    with pytest.raises(ModuleNotFoundError, match="no_such_package_at_all"):
        hooks.arm("no_such_package_at_all.part", seen.append)
        importlib.import_module("no_such_package_at_all.part")
    assert seen == [] and hooks.errors == []


def test_arming_imports_nothing_and_the_loader_still_gives_source_and_resources(modules, hooks):
    name = modules("plain", "def answer():\n    return 42\n")
    hooks.arm(name, lambda module: None)
    assert name not in sys.modules
    module = importlib.import_module(name)
    assert module.__spec__.loader.get_source(name).startswith("def answer")
    import inspect

    assert "return 42" in inspect.getsource(module.answer)


def test_a_package_and_its_module_can_both_be_armed(modules, hooks):
    name = modules("inner", "value = 1")
    seen = []
    hooks.arm("hooked_package", lambda module: seen.append(module.__name__))
    hooks.arm(name, lambda module: seen.append(module.__name__))
    importlib.import_module(name)
    assert seen == ["hooked_package", name]
