"""A model is loaded with attention that computes what its config specifies, or is refused."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from capped_models import capped_model, without_cap
from checkout import ROOT
from plain_out import PlainInputs

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.engines.models import attention
from hala_hpc.engines.models.attention import AttentionUse, choose_attention, is_padding_free
from hala_hpc.engines.training.tokens.packing_check import measure_leak
from hala_hpc.stages.evaluate import Evaluate
from hala_hpc.stages.sft import Sft

#: Tolerance between two kernels, as a share of the largest logit.
ROUNDING = 1e-3
#: Minimum change by the cap, as a share of the largest logit.
BY_THE_CAP = 0.1


@pytest.fixture(scope="module")
def capped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return capped_model(tmp_path_factory.mktemp("attention") / "capped")


@pytest.fixture(scope="module")
def uncapped(capped: Path) -> Path:
    return without_cap(capped, capped.parent / "uncapped")


@pytest.fixture
def uncompiled() -> Any:
    """torch computes flex attention without compilation, which takes minutes on a CPU."""
    import torch

    with torch.compiler.set_stance("force_eager"):
        yield


def logits_of(model: Path, kernel: str, batch: dict[str, Any]) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(
        model, dtype="float32", attn_implementation=kernel
    )
    with torch.no_grad():
        return loaded.eval()(**batch, use_cache=False).logits


def rows_of(count: int, tokens: int) -> Any:
    import torch

    return torch.randint(20, 4000, (count, tokens), generator=torch.Generator().manual_seed(0))


def differ(one: Any, other: Any) -> float:
    """The largest difference, as a share of the largest logit."""
    return float((one - other).abs().max() / other.abs().max())


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_attention_equals_eager_and_the_cap_matters(capped: Path, uncapped: Path) -> None:
    # Longer than the window of every second layer.
    batch = {"input_ids": rows_of(2, 160)}
    eager = logits_of(capped, "eager", batch)
    assert differ(logits_of(capped, "flex_attention", batch), eager) < ROUNDING
    free = logits_of(uncapped, "eager", batch)
    assert differ(free, eager) > BY_THE_CAP
    # Why it is refused: sdpa silently drops the cap.
    assert differ(logits_of(capped, "sdpa", batch), free) < ROUNDING


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("kernel", ["eager", "flex_attention"])
def test_rows_of_one_sequence_stay_apart(kernel: str, capped: Path) -> None:
    import torch

    first, second = rows_of(2, 90)
    packed = {
        "input_ids": torch.cat([first, second])[None],
        "position_ids": torch.arange(90).repeat(2)[None],
    }
    together = logits_of(capped, kernel, packed)[0]
    alone = logits_of(capped, kernel, {"input_ids": second[None]})[0]
    assert differ(together[90:], alone) < ROUNDING
    assert measure_leak(capped, kernel) == 0


def config_of(kind: str, **changes: Any) -> Any:
    from transformers import AutoConfig

    return AutoConfig.for_model(kind, **changes)


CPU = AttentionUse("cpu", "float32", trains=True)
GPU = AttentionUse("cuda", "bfloat16", trains=True)
GPU_FLOAT32 = AttentionUse("cuda", "float32", trains=True)


@pytest.mark.parametrize(
    ("kind", "cap", "use", "kernel"),
    [
        ("gemma2", 50.0, CPU, "eager"),
        ("gemma2", 50.0, GPU, "flex_attention"),
        ("gemma2", None, GPU, None),
        ("lfm2", None, CPU, None),
        ("lfm2", None, GPU, None),
    ],
)
def test_auto_is_what_the_config_means(
    kind: str, cap: float | None, use: AttentionUse, kernel: str | None
) -> None:
    changes = {"attn_logit_softcapping": cap} if kind == "gemma2" else {}
    assert choose_attention(config_of(kind, **changes), "auto", use) == kernel


@pytest.mark.parametrize(
    ("wanted", "use", "fix"),
    [
        ("sdpa", GPU, "set attention=auto"),
        ("flex_attention", CPU, "set attention=auto or eager"),
        ("flash_attention_2", CPU, "there is no GPU"),
        ("flash_attention_2", GPU_FLOAT32, "set dtype=bfloat16"),
        ("flash_attention_3", GPU, "install flash-attn, or the package kernels"),
        ("kernels-community/flash-attn2", GPU, "install flash-attn, or the package kernels"),
    ],
)
def test_what_would_be_another_model_or_cannot_run_is_refused(
    wanted: str, use: AttentionUse, fix: str
) -> None:
    with pytest.raises(UserError) as caught:
        choose_attention(config_of("gemma2"), wanted, use)
    assert caught.value.code == CONFIG
    assert f"attention={wanted}" in str(caught.value)
    assert fix in str(caught.value)


def with_cap(q: Any, k: Any, v: Any, softcap: float = 0.0) -> Any:
    """Stand-in for the function of flash attention from version 2.6 on."""


def older(q: Any, k: Any, v: Any) -> Any:
    """Stand-in for one without a cap: transformers drops arguments that it does not name."""


@pytest.mark.parametrize(
    ("function", "chosen"), [(with_cap, "flash_attention_2"), (older, "flex_attention")]
)
def test_flash_attention_is_taken_where_it_applies_the_cap(
    function: Callable[..., Any], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "flash_function", lambda _name: function)
    config = config_of("gemma2")
    assert choose_attention(config, "auto", GPU) == chosen
    assert choose_attention(config, "auto", GPU_FLOAT32) == "flex_attention"
    wanted = "owner/kernel"
    if function is with_cap:
        assert choose_attention(config, wanted, GPU) == wanted
    else:
        with pytest.raises(UserError, match="drops the cap"):
            choose_attention(config, wanted, GPU)
        assert choose_attention(config_of("lfm2"), wanted, GPU) == wanted


def test_rows_are_laid_end_to_end_for_kernels_that_get_no_mask() -> None:
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, flash_attention_mask

    ALL_MASK_ATTENTION_FUNCTIONS.register("owner/attention@v1", flash_attention_mask)
    try:
        kernels = ("flash_attention_2", "owner/attention@v1", "eager", "sdpa", "flex_attention")
        assert [is_padding_free(kernel) for kernel in kernels] == [True, True, False, False, False]
    finally:
        del ALL_MASK_ATTENTION_FUNCTIONS._global_mapping["owner/attention@v1"]


def test_a_cap_that_would_be_dropped_is_reported_before_a_job_is_submitted(
    capped: Path, uncapped: Path
) -> None:
    def of_sft(model: Path, kernel: str) -> list[str]:
        settings = {"model": str(model), "tokens": "@tokens", "attention": kernel}
        return Sft(Sft.Settings.model_validate(settings), PlainInputs()).preflight()

    def of_evaluate(model: Path, kernel: str) -> list[str]:
        settings = {"models": {"tuned": str(model)}, "tasks": ["t"], "attention": kernel}
        return Evaluate(Evaluate.Settings.model_validate(settings), PlainInputs()).preflight()

    for preflight, setting in ((of_sft, "model"), (of_evaluate, "models.tuned")):
        (fault,) = preflight(capped, "sdpa")
        assert fault.startswith(f"{setting}={capped}: attention=sdpa: it drops the cap")
        assert "set attention=auto" in fault
        assert preflight(capped, "auto") == preflight(uncapped, "sdpa") == []


@pytest.mark.parametrize("value", ["flash", "", "flash_attention_4", "owner/kernel/part", "Eager"])
def test_a_name_that_no_kernel_has_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="give one of auto, eager, sdpa"):
        Sft.Settings.model_validate({"model": "a/b", "tokens": "@t", "attention": value})


def test_attention_leaves_the_fingerprint_as_it_is() -> None:
    for kind, settings in (
        (Sft, {"model": "a/b", "tokens": "@t"}),
        (Evaluate, {"models": {"m": "@m"}}),
    ):
        halves = [
            kind.Settings.model_validate(settings | {"attention": kernel}).result_half()
            for kernel in ("auto", "eager", "flex_attention")
        ]
        assert halves[0] == halves[1] == halves[2]


#: Files that load models and compute no attention.
COMPUTES_NOTHING = {"hala_hpc/engines/models/compression.py"}


def test_every_model_that_is_loaded_to_compute_gets_its_attention() -> None:
    untold = set()
    for path in sorted((ROOT / "hala_hpc").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or not loads_a_model(ast.unparse(call.func)):
                continue
            if not any(keyword.arg == "attn_implementation" for keyword in call.keywords):
                untold.add(str(path.relative_to(ROOT)))
    assert untold == COMPUTES_NOTHING


def loads_a_model(name: str) -> bool:
    """Whether a call of this name loads weights with transformers, or has lm-eval do it."""
    return name == "HFLM" or ("ForCausalLM" in name and name.endswith("from_pretrained"))
