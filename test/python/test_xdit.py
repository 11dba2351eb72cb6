"""Unmodified xDiT on forked gloo ranks, with a trained FLUX model: what is compressed, and that nothing else changes."""

import math
from types import SimpleNamespace

import pytest
import torch
from cfx_shim.adapters.xdit import XDiT
from farming import IDENTITY, OFF, PAPER_1BIT, PAPER_2BIT, Farm, cell, plan

U2 = (2, ["--ulysses_degree", "2"])
R2 = (2, ["--ring_degree", "2"])
U2R2 = (4, ["--ulysses_degree", "2", "--ring_degree", "2"])
TOPOLOGIES = {"ulysses2": U2, "ring2": R2, "ulysses2-ring2": U2R2}
# scenes-flux at 256 x 256: 1,024 image and 32 text tokens, 4 heads of 64, 5 layers
TOKENS, CHANNELS, LAYERS, ALIGN = 1056, 256, 5, 16


@pytest.fixture(scope="module")
def farm():
    farm = Farm()
    yield farm
    farm.close()


@pytest.fixture(scope="module")
def reference(farm):
    """Results of xDiT without cfx, by topology and generations."""
    known = {}

    def get(topology, generations=({},), **more):
        key = repr((topology, generations, more))
        if key not in known:
            known[key] = farm.run(*topology, None, list(generations), **more).tensors
        return known[key]

    return get


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def psnr(reference, other):
    error = float(((reference - other) ** 2).mean())
    return math.inf if error == 0 else 10 * math.log10(float((reference.max() - reference.min()) ** 2) / error)


def aligned(size):
    return -(-size // ALIGN) * ALIGN


def wire_bytes(topology, steps, planes, item=4):
    """One rank's bytes of one image by the formula: one exact step, then u, v in fp16 and ``planes`` bits an element."""
    world, args = topology
    ulysses = 2 if "--ulysses_degree" in args else 1
    ring = world // ulysses
    total = 0
    for step in range(steps):
        def block(tokens, channels):
            if step == 0:
                return aligned(tokens * channels * item)
            return aligned(2 * tokens + 2 * channels + planes * tokens * math.ceil(channels / 8))

        if ulysses > 1:
            chunk = block(TOKENS // world, CHANNELS // ulysses)
            total += LAYERS * (ulysses - 1) * ((3 * chunk + ALIGN) + (chunk + ALIGN))
        if ring > 1:
            total += LAYERS * (ring - 1) * (2 * block(TOKENS // ring, CHANNELS // ulysses) + ALIGN)
    return total


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_off_and_identity_give_the_unattached_latents_bit_for_bit(farm, reference, name):
    topology = TOPOLOGIES[name]
    assert same(reference(topology), farm.run(*topology, OFF, [{}]).tensors)
    identity = farm.run(*topology, IDENTITY, [{}])
    assert same(reference(topology), identity.tensors)
    assert identity.total("compressed") == identity.total("calls") > 0


@pytest.mark.parametrize("codec, planes", [("binary", 1), ("int2", 2)])
@pytest.mark.parametrize("name", TOPOLOGIES)
def test_bytes_equal_the_formula_and_all_ranks_hold_the_same_bases(farm, reference, name, codec, planes):
    topology = TOPOLOGIES[name]
    outcome = farm.run(*topology, plan(cell(codec)), [{}])
    expected = wire_bytes(topology, 4, planes)
    assert [outcome.total("wireBytes", rank) for rank in range(topology[0])] == [expected] * topology[0]
    assert outcome.total("keyframes") * 4 == outcome.total("calls")
    compared, different = outcome.compared_bases()
    assert compared > 0 and not different
    quality = psnr(reference(topology)["0.latents"], outcome.tensors["0.latents"])
    assert 20 < quality < 100, "compressed latents must be near the uncompressed ones, and not equal to them"


def test_the_loop_errs_as_much_as_the_method_is_known_to(farm):
    """Ring 2, 10 steps: relative errors of k and v measured on this model with an independent implementation."""
    for codec, k, v in (("binary", 0.096, 0.173), ("int2", 0.048, 0.086)):
        outcome = farm.run(*R2, plan(cell(codec)), [{"steps": 10}], prepare=["relative_errors"])
        errors = outcome.reports[0]["relativeErrors"]
        assert errors["k"] == pytest.approx(k, rel=0.15)
        assert errors["v"] == pytest.approx(v, rel=0.15)


def test_a_second_generation_takes_nothing_from_the_first(farm):
    both = farm.run(*U2, PAPER_1BIT, [{"seed": 5}, {"seed": 11}])
    alone = farm.run(*U2, PAPER_1BIT, [{"seed": 11}])
    assert torch.equal(both.tensors["1.latents"], alone.tensors["0.latents"])
    assert both.total("keyframes") == 2 * alone.total("keyframes")


def test_a_change_of_resolution_starts_from_keyframes(farm):
    changed = farm.run(*U2, PAPER_1BIT, [{"size": 128}, {}])
    alone = farm.run(*U2, PAPER_1BIT, [{}])
    assert torch.equal(changed.tensors["1.latents"], alone.tensors["0.latents"])


def test_a_batch_of_two_is_coded_whole(farm, reference):
    generations = [{"prompts": ["a small blue circle", "a large red star"]}]
    assert same(reference(U2, generations), farm.run(*U2, IDENTITY, generations).tensors)
    outcome = farm.run(*U2, PAPER_2BIT, generations)
    assert psnr(reference(U2, generations)["0.latents"], outcome.tensors["0.latents"]) > 20
    assert not outcome.compared_bases()[1]


def test_two_forwards_a_step_are_two_branches(farm, reference):
    generations = [{}]
    more = {"prepare": ["two_forwards"]}
    assert same(reference(U2, generations, **more), farm.run(*U2, IDENTITY, generations, **more).tensors)
    outcome = farm.run(*U2, PAPER_1BIT, generations, **more)
    one = farm.run(*U2, PAPER_1BIT, generations)
    assert outcome.total("keyframes") == 2 * one.total("keyframes")
    assert outcome.total("wireBytes") == 2 * one.total("wireBytes")
    assert not outcome.compared_bases()[1]


def test_two_transformers_keep_separate_bases(farm, reference):
    more = {"prepare": ["two_transformers"]}
    assert same(reference(U2, **more), farm.run(*U2, IDENTITY, [{}], **more).tensors)
    outcome = farm.run(*U2, PAPER_1BIT, [{"steps": 6}], **more)
    names = {row["site"].split(".")[0] for row in outcome.rows()}
    assert len(names) == 2
    for name in names:
        keyframes = sum(row["keyframes"] for row in outcome.rows() if row["site"].split(".")[0] == name)
        assert keyframes >= 4 * LAYERS, "each transformer starts from a keyframe at every site"
    assert not outcome.compared_bases()[1]


@pytest.mark.parametrize("dtype, item", [("bfloat16", 2), ("float16", 2)])
def test_sixteen_bit_models(farm, reference, dtype, item):
    more = {"dtype": dtype}
    assert same(reference(U2, **more), farm.run(*U2, IDENTITY, [{}], **more).tensors)
    outcome = farm.run(*U2, PAPER_2BIT, [{}], **more)
    assert outcome.total("wireBytes") == wire_bytes(U2, 4, 2, item)
    assert psnr(reference(U2, **more)["0.latents"], outcome.tensors["0.latents"]) > 20
    assert not outcome.compared_bases()[1]


def test_order_0_keeps_no_base(farm):
    outcome = farm.run(*R2, plan(cell("binary", residualOrder=0)), [{}])
    assert outcome.reports[0]["telemetry"]["baseMemoryBytes"] == 0
    assert outcome.total("wireBytes") == wire_bytes(R2, 4, 1)


def test_without_feedback_the_receivers_still_agree(farm):
    outcome = farm.run(4, ["--ring_degree", "4"], plan(cell("binary", feedback=False)), [{}])
    compared, different = outcome.compared_bases()
    assert compared > 0 and not different


def test_rules_by_role_and_layer_leave_the_rest_exact(farm):
    policy = plan(cell("int2", roles=["k", "v"], layers=[1, 3]))
    outcome = farm.run(*U2, policy, [{}])
    coded = {(row["site"].rsplit(".", 1)[1], row["role"]) for row in outcome.rows() if row["codec"] == "int2"}
    assert coded == {(layer, role) for layer in "12" for role in "kv"}
    assert outcome.total("compressed", role="q") == outcome.total("compressed", role="o") == 0


def test_a_nan_on_one_rank_is_acted_on_alike_by_all_and_named(farm):
    spoiled = farm.run(*U2, PAPER_1BIT, [{"steps": 6}, {}], prepare=["nan"])
    alone = farm.run(*U2, PAPER_1BIT, [{}])
    assert torch.equal(spoiled.tensors["1.latents"], alone.tensors["0.latents"]), "the next generation is clean"
    for rank in range(2):
        assert "CFX_NON_FINITE" in spoiled.fallbacks(rank)
        assert spoiled.total("keyframes", rank) == spoiled.total("keyframes", 0)
    assert "CFX_NON_FINITE" not in alone.fallbacks()


def test_ranks_with_different_plans_all_run_uncompressed(farm, reference):
    outcome = farm.run(*U2, PAPER_1BIT, [{}], prepare=["other_plan_on_rank_1"])
    assert same(reference(U2), outcome.tensors)
    for rank in range(2):
        assert outcome.fallbacks(rank) == ["CFX_PLAN_MISMATCH"]
        assert outcome.total("compressed", rank) == 0


def test_head_balancing_that_only_the_running_job_shows_is_refused_by_all(farm, reference):
    outcome = farm.run(*U2, PAPER_1BIT, [{}], prepare=["head_balance"])
    assert same(reference(U2), outcome.tensors)
    for rank in range(2):
        assert outcome.fallbacks(rank) == ["CFX_HEAD_BALANCE"]
        assert outcome.total("compressed", rank) == 0


def test_fp8_comms_of_a_stub_runtime_state_are_a_problem():
    """xDiT's own fp8 exchange needs attention kernels of a GPU that this machine cannot have."""
    problems = []
    adapter = XDiT(SimpleNamespace())
    state = SimpleNamespace(runtime_config=SimpleNamespace(use_spargeattn_head_balance=False), fp8_comms=object())
    adapter._usp = SimpleNamespace(get_runtime_state=lambda: state)
    adapter.check(SimpleNamespace(problem=lambda code, reason: problems.append(code)))
    state.fp8_comms = None
    adapter.check(SimpleNamespace(problem=lambda code, reason: problems.append(code)))
    assert problems == ["CFX_FP8_COMMS"]


def test_a_new_plan_waits_until_every_rank_has_it(farm):
    later = {"do": "new_plan", "epoch": 1, "plan": plan(cell("int2"))}
    outcome = farm.run(*U2, PAPER_1BIT, [{}, {**later, "ranks": [0]}, {}, {**later, "ranks": [1]}, {}])
    for rank in range(2):
        assert outcome.total("calls", rank, codec="binary") == 2 * outcome.total("calls", rank, codec="int2") > 0


def test_helpers_called_one_by_one_stacked_and_with_fewer_heads(farm):
    helpers = [{"do": "helpers"}]
    expected = farm.run(*U2, None, helpers).by_rank
    identity = farm.run(*U2, IDENTITY, helpers)
    assert all(same(left, right) for left, right in zip(expected, identity.by_rank))
    coded = farm.run(*U2, PAPER_2BIT, helpers)
    for left, right in zip(expected, coded.by_rank):
        extras = ["0.03", "0.07", "0.11"]
        assert all(torch.equal(left[name], right[name]) for name in extras), "riding tensors are untouched"
        for name in left.keys() - set(extras):
            assert left[name].shape == right[name].shape
            assert float((left[name] - right[name]).norm() / left[name].norm()) < 0.05
    assert not coded.compared_bases()[1]


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_joint_text_tokens_in_front_and_at_the_rear(farm, name):
    world, args = TOPOLOGIES[name]
    joint = [{"do": "joint"}]
    expected = farm.run(world, args, None, joint).by_rank
    identity = farm.run(world, args, IDENTITY, joint).by_rank
    coded = farm.run(world, args, PAPER_2BIT, joint)
    for rank in range(world):
        assert same(expected[rank], identity[rank])
        for where in ("0.front", "0.rear"):
            assert expected[rank][where].shape == coded.by_rank[rank][where].shape
            error = (expected[rank][where] - coded.by_rank[rank][where]).norm() / expected[rank][where].norm()
            assert 0 < float(error) < 0.05
    assert not coded.compared_bases()[1]


def test_a_compiled_model_gives_the_right_result_and_its_graph_breaks_are_named(farm):
    """Backend aot_eager: Dynamo's tracing and graph breaks are real, no C++ compiler is needed."""
    compiled = {"prepare": ["compile"]}
    plain = farm.run(*U2, None, [{}], **compiled).tensors["0.latents"]
    identity = farm.run(*U2, IDENTITY, [{}], **compiled)
    assert torch.allclose(plain, identity.tensors["0.latents"], atol=1e-4)
    assert any("graph break" in note for note in identity.reports[0]["telemetry"]["notes"])
    eager = farm.run(*U2, PAPER_2BIT, [{}])
    coded = farm.run(*U2, PAPER_2BIT, [{}], **compiled)
    assert coded.total("wireBytes") == eager.total("wireBytes")
    assert not coded.compared_bases()[1]


# the presets, as long as ten steps are
ONE = {"residualOrder": 2, "keyframeCodec": "centred5"}
TWO = {"residualOrder": 2, "keyframeCodec": "int8"}
CFX_1BIT = plan(
    cell("tcq3", roles=["o"], steps=[0, 2], **ONE),
    cell("tcq3", roles=["o"], steps=[4, 5], **ONE),
    cell("tcq3", roles=["o"], steps=[6, 7], **ONE),
    cell("tcq2", roles=["o"], **ONE),
    cell("tcq2", steps=[0, 2], **ONE),
    cell("tcq2", steps=[4, 5], **ONE),
    cell("tcq2", steps=[6, 7], **ONE),
    cell("tcq1", **ONE),
)
CFX_2BIT = plan(cell("tcq3", steps=[0, 8], **TWO), cell("tcq2", **TWO))


@pytest.mark.parametrize("ours, papers", [(CFX_1BIT, PAPER_1BIT), (CFX_2BIT, PAPER_2BIT)], ids=["1bit", "2bit"])
def test_our_codecs_err_less_than_the_papers_at_no_more_bytes(farm, ours, papers):
    generations = [{"steps": 10}]
    paper = farm.run(*U2, papers, generations, prepare=["relative_errors"])
    own = farm.run(*U2, ours, generations, prepare=["relative_errors"])
    assert own.total("wireBytes") <= paper.total("wireBytes")
    for role, error in paper.reports[0]["relativeErrors"].items():
        assert own.reports[0]["relativeErrors"][role] < 0.9 * error
    compared, different = own.compared_bases()
    assert compared > 0 and not different
    # beside a base in float32 its last change, in a byte an element and a scale for 32
    memory = [outcome.reports[0]["telemetry"]["baseMemoryBytes"] for outcome in (own, paper)]
    assert memory[0] == memory[1] * (4 + 1 + 1 / 32) / 4


def test_prediction_keeps_sender_and_receivers_equal_in_sixteen_bits_and_in_a_ring(farm):
    for dtype in ("bfloat16", "float16"):
        outcome = farm.run(4, ["--ring_degree", "4"], CFX_2BIT, [{"steps": 6}], dtype=dtype)
        compared, different = outcome.compared_bases()
        assert compared > 0 and not different


def test_bases_in_8_bits_are_equal_on_all_ranks_at_half_the_memory_of_16_bits_a_number(farm):
    # with a trend native state has 16 bits for the base alone
    for topology, wanted, native, numbers in ((U2, PAPER_1BIT["cells"], 2, 1), (R2, CFX_2BIT["cells"], 3 + 1 / 32, 2)):
        own = farm.run(*topology, plan(*wanted), [{}], dtype="bfloat16", prepare=["relative_errors"])
        eight = plan(*({**each, "baseDtype": "int8"} for each in wanted))
        packed = farm.run(*topology, eight, [{}], dtype="bfloat16", prepare=["relative_errors"])
        compared, different = packed.compared_bases()
        assert compared > 0 and not different
        assert packed.total("wireBytes") == own.total("wireBytes")
        memory = [outcome.reports[0]["telemetry"]["baseMemoryBytes"] for outcome in (packed, own)]
        elements = memory[1] / native
        assert 0 < memory[0] <= 0.53 * numbers * 2 * elements
        for role, error in own.reports[0]["relativeErrors"].items():
            # two runs of the whole model: their trajectories part by rounding alone
            assert packed.reports[0]["relativeErrors"][role] < 1.05 * error


@pytest.mark.parametrize(
    "torch_version, xfuser_version, problems",
    [
        ("2.8.0a0+34c6371d24.nv25", "0.7.0", []),
        ("2.7.1+cu126", "0.7.0", ["torch 2.7.1+cu126 is installed; expected 2.8 or newer"]),
        ("2.15.0", "0.8.0", ["xfuser 0.8.0 is installed; cfx supports 0.7 up to, not including, 0.8"]),
    ],
)
def test_versions_that_are_not_supported_are_a_ranks_problem(monkeypatch, torch_version, xfuser_version, problems):
    monkeypatch.setattr(torch, "__version__", torch_version)
    monkeypatch.setattr("cfx_shim.adapters.xdit.metadata.version", lambda name: xfuser_version)
    found, replaced = [], []
    patches = SimpleNamespace(replace=lambda module, name, make: replaced.append(name))
    session = SimpleNamespace(problem=lambda code, text: found.append((code, text)), patches=patches, adapter=None)
    XDiT(session).patch_usp(SimpleNamespace(get_ulysses_parallel_world_size=None, PROCESS_GROUP=None))
    assert found == [("CFX_ADAPTER_VERSION", text) for text in problems]
    assert bool(replaced) == (not problems)
