"""Patches: applied once, remembered, undone, and named alike on every rank."""

import types

import pytest

from cfx_shim.patching import Patches, PatchError


def module():
    found = types.ModuleType("upstream.layers")

    def send(x):
        """Send x."""
        return x

    found.send = send
    return found


def doubled(original):
    return lambda x: 2 * original(x)


def test_a_replacement_wraps_the_original_and_looks_like_it():
    upstream, patches = module(), Patches()
    original = upstream.send
    patches.replace(upstream, "send", doubled)
    assert upstream.send(3) == 6
    assert upstream.send.__wrapped__ is original
    assert (upstream.send.__name__, upstream.send.__doc__) == ("send", "Send x.")
    assert patches.names == ["upstream.layers.send"]


def test_patching_twice_changes_nothing_even_from_another_session():
    upstream, patches, others = module(), Patches(), Patches()
    patches.replace(upstream, "send", doubled)
    patches.replace(upstream, "send", doubled)
    others.replace(upstream, "send", doubled)
    assert upstream.send(3) == 6
    assert patches.names == ["upstream.layers.send"] and others.names == []


def test_undo_restores_every_original_last_first():
    upstream, patches = module(), Patches()
    upstream.receive = upstream.send
    originals = upstream.send, upstream.receive
    patches.replace(upstream, "send", doubled)
    patches.replace(upstream, "receive", doubled)
    patches.undo()
    assert (upstream.send, upstream.receive) == originals
    assert patches.names == []
    patches.undo()
    patches.replace(upstream, "send", doubled)
    assert upstream.send(3) == 6


def test_methods_of_a_class_are_replaced_where_the_class_defines_them():
    class Base:
        def step(self, x):
            return x

    class Derived(Base):
        pass

    patches = Patches()
    patches.replace(Base, "step", lambda original: lambda self, x: original(self, x) + 1)
    assert Derived().step(1) == 2
    with pytest.raises(PatchError, match="Derived.step was not found"):
        patches.replace(Derived, "step", doubled)
    assert len(patches.names) == 1 and patches.names[0].endswith("Base.step")
    patches.undo()
    assert Derived().step(1) == 1


def test_a_symbol_that_is_not_there_is_an_error_that_names_it():
    patches = Patches()
    with pytest.raises(PatchError, match="upstream.layers.gone was not found"):
        patches.replace(module(), "gone", doubled)
    assert patches.names == []


def test_the_digest_follows_from_the_names_and_not_from_their_order():
    def patched(*names):
        upstream, patches = module(), Patches()
        upstream.receive = upstream.other = upstream.send
        for name in names:
            patches.replace(upstream, name, doubled)
        return patches.digest()

    assert patched("send", "receive") == patched("receive", "send")
    assert len({patched(), patched("send"), patched("receive"), patched("send", "receive")}) == 4
    assert len(patched()) == 16
