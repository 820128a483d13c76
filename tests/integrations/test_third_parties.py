"""Every script of examples/libraries: a few added lines, and the model is trained by them and left as it was."""

import os
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pixelcontrast
from pixelcontrast.contrast.recording import Recorder

os.environ["HF_HUB_OFFLINE"] = "1"
FOLDER = Path(__file__).parents[2] / "examples" / "libraries"
PACKAGES = {
    "segformer": "transformers",
    "upernet": "transformers",
    "unet": "segmentation_models_pytorch",
    "fpn": "segmentation_models_pytorch",
    "deeplabv3": "torchvision",
    "vit": "timm",
    "monai_unet": "monai",
}
SLOW = {"fpn", "deeplabv3", "monai_unet"}


def test_every_library_has_its_script() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == set(PACKAGES)


@pytest.mark.parametrize("name", PACKAGES)
def test_at_most_five_lines_are_added_and_none_is_changed(name: str) -> None:
    source = (FOLDER / f"{name}.py").read_text()
    plain = [line for line in source.splitlines() if not line.endswith("# contrast")]
    assert 0 < len(source.splitlines()) - len(plain) <= 5
    assert "contrast" not in "\n".join(plain).partition('"""\n')[2]
    compile("\n".join(plain), name, "exec")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in PACKAGES]
)
def test_the_script_trains_and_the_model_is_left_as_it_was(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(PACKAGES[name], reason=f"needs {PACKAGES[name]}: pip install 'pixelcontrast[integrations]'")
    keys: list[str] = []
    attach = pixelcontrast.attach

    def remember(model: nn.Module, **options: Any) -> pixelcontrast.AttachedContrast:
        keys.extend(model.state_dict())
        return attach(model, **options)

    monkeypatch.setattr(pixelcontrast, "attach", remember)
    script = runpy.run_path(str(FOLDER / f"{name}.py"))
    model, contrast, images, labels = (script[key] for key in ("model", "contrast", "images", "labels"))
    assert script["losses"][-1] < script["losses"][0]

    model.zero_grad()
    contrast(labels, logits_of(model(images))).backward()
    tapped = model.get_submodule(contrast.taps[0].module)
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in tapped.parameters())

    model.eval()
    with torch.no_grad():
        attached = logits_of(model(images))
        contrast.detach()
        assert torch.equal(logits_of(model(images)), attached)
    assert list(model.state_dict()) == keys
    hooks = [hook for module in model.modules() for hook in module._forward_hooks.values()]
    assert not any(isinstance(hook, Recorder) for hook in hooks)  # transformers has hooks of its own


def logits_of(output: Any) -> Tensor:
    logits: Tensor = output if isinstance(output, Tensor) else output["logits" if "logits" in output else "out"]
    return logits
