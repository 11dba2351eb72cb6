"""Bases: when one is valid, what dropping keeps, and how they are compared."""

import pytest
import torch

from cfx_shim.base_store import BaseKey, BaseStore, digest
from cfx_shim.collectives import Group
from cfx_shim.state import layout

CPU = torch.device("cpu")
GROUP = Group(None, "g", 1, (4, 5, 6))


def key(**changes):
    return BaseKey(**{"group": "g", "site": "Model.0", "role": "k", "branch": 0, "end": "send", **changes})


def get(store, wanted, shape=(2, 3, 4), dtype=torch.float32, order=1, base_dtype="native"):
    blocks, tokens, channels = shape
    return store.get(wanted, layout(base_dtype, order, tokens, channels, dtype), blocks, CPU)


def valid_base(store, wanted, fill=1.0, comparable=True, shape=(2, 3, 4), group=GROUP):
    tensor, _ = get(store, wanted, shape)
    tensor.fill_(fill)
    store.set_valid(wanted, group, comparable)
    return tensor


def test_a_new_base_is_not_valid_and_its_memory_is_not_cleared_by_anyone():
    tensor, valid = get(BaseStore(), key())
    assert not valid and torch.isnan(tensor).all()


def test_a_marked_base_stays_valid_and_is_the_same_memory():
    store = BaseStore()
    tensor = valid_base(store, key())
    again, valid = get(store, key())
    assert valid and again is tensor
    for other in (key(group="h"), key(site="Model.1"), key(role="v"), key(branch=1), key(end="receive")):
        assert not get(store, other)[1]


CHANGES = {
    "shape": {"shape": (2, 4, 3)},
    "blocks": {"shape": (1, 3, 4)},
    "dtype": {"dtype": torch.bfloat16},
    "order": {"order": 2},
}


@pytest.mark.parametrize("base_dtype", ["native", "int8"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_another_shape_dtype_or_order_makes_it_invalid_for_good(change, base_dtype):
    """In 8 bits too, where the stored tensors of two shapes or dtypes may be alike."""
    store = BaseStore()
    get(store, key(), base_dtype=base_dtype)
    store.set_valid(key(), GROUP, True)
    assert get(store, key(), base_dtype=base_dtype)[1]
    assert not get(store, key(), **{"base_dtype": base_dtype, **change})[1]
    assert not get(store, key(), base_dtype=base_dtype)[1]


def test_another_kind_of_state_makes_it_invalid():
    store = BaseStore()
    valid_base(store, key())
    assert not get(store, key(), base_dtype="int8")[1]


def test_dropping_keeps_the_memory():
    store = BaseStore()
    tensor = valid_base(store, key())
    store.drop_all()
    again, valid = get(store, key())
    assert again is tensor and not valid
    assert store.bytes == 2 * 3 * 4 * 4


def test_a_group_is_dropped_alone():
    store = BaseStore()
    valid_base(store, key())
    valid_base(store, key(group="h"))
    store.drop_group("g")
    assert not get(store, key())[1] and get(store, key(group="h"))[1]


def test_free_gives_the_memory_back():
    store = BaseStore()
    valid_base(store, key())
    store.free()
    assert store.bytes == 0 and store.digests() == {}


def test_digests_name_a_base_by_its_source_and_destination_in_global_ranks():
    store = BaseStore()
    for end, count in (("send", 2), ("receive", 2)):
        valid_base(store, key(end=end), shape=(count, 3, 4))
    valid_base(store, key(end="own", role="v"), shape=(1, 3, 4))
    valid_base(store, key(end="peers", role="v"), shape=(2, 3, 4))
    valid_base(store, key(end="send", role="q"), comparable=False)
    assert set(store.digests()) == {
        "Model.0|k|0|5>4",
        "Model.0|k|0|5>6",
        "Model.0|k|0|4>5",
        "Model.0|k|0|6>5",
        "Model.0|v|0|5>*",
        "Model.0|v|0|4>*",
        "Model.0|v|0|6>*",
    }


def test_a_sender_without_feedback_is_valid_but_not_comparable():
    store = BaseStore()
    assert not store.is_comparable(key())
    valid_base(store, key(), comparable=False)
    assert get(store, key())[1] and not store.is_comparable(key())
    valid_base(store, key())
    assert store.is_comparable(key())


def test_a_digest_is_of_the_bits():
    x = torch.zeros(3, dtype=torch.bfloat16)
    assert digest(x) == digest(x.clone()) and len(digest(x)) == 16
    assert digest(x) != digest(-x)
    wide = torch.arange(6.0).reshape(2, 3)
    assert digest(wide.t()) == digest(wide.t().contiguous()) != digest(wide)
