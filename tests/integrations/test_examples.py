"""The examples are short, and run."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "examples"


def load(name: str) -> dict[str, Any]:
    return runpy.run_path(str(FOLDER / f"{name}.py"))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_adapters_are_short(path: Path) -> None:
    assert path.read_text().count("\n") <= 65
    assert path.stem in {"plain_loop", "lightning_callback", "huggingface_trainer", "accelerate_loop"}


def test_plain_loop() -> None:
    losses = load("plain_loop")["train"]()
    assert losses[-1] < losses[0]


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:The number of training batches")
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch")
def test_lightning_callback(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning")
    example = load("lightning_callback")
    labels = torch.randint(0, 4, (4, 16, 16))
    data = torch.utils.data.TensorDataset(torch.randn(4, 3, 16, 16), labels)
    network = example["Network"]()
    keys = list(network.model.state_dict())
    callback = example["ContrastCallback"](at="0", num_classes=4)
    trainer = lightning.Trainer(
        default_root_dir=tmp_path, max_steps=3, accelerator="cpu", callbacks=[callback], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(network, torch.utils.data.DataLoader(data, batch_size=2))
    assert network.contrast.get_extra_state() == 3
    assert trainer.callback_metrics["contrast"] > 0
    assert {id(p) for p in network.contrast.parameters()} <= {
        id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]
    }
    assert list(network.model.state_dict()) == keys

    trainer.save_checkpoint(tmp_path / "last.ckpt")
    plain = example["Network"].load_from_checkpoint(tmp_path / "last.ckpt")
    assert torch.equal(plain.model[0].weight, network.model[0].weight)
    again, callback = example["Network"](), example["ContrastCallback"](at="0", num_classes=4)
    trainer = lightning.Trainer(
        default_root_dir=tmp_path, max_steps=5, accelerator="cpu", callbacks=[callback], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(again, torch.utils.data.DataLoader(data, batch_size=2), ckpt_path=tmp_path / "last.ckpt")
    assert again.contrast.get_extra_state() == 5


def test_huggingface_trainer(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs pixelcontrast[integrations]")
    pytest.importorskip("accelerate", reason="needs pixelcontrast[integrations]")
    trainer = load("huggingface_trainer")["main"](str(tmp_path))
    assert trainer.contrast.get_extra_state() == 4
    state = torch.load(tmp_path / "contrast.pt")
    trainer.contrast.load_state_dict(state)
    assert (tmp_path / "model.safetensors").is_file()
    trainer._load_from_checkpoint(str(tmp_path))
    assert trainer.contrast.get_extra_state() == 4


def test_accelerate_loop() -> None:
    pytest.importorskip("accelerate", reason="needs pixelcontrast[integrations]")
    losses = load("accelerate_loop")["train"]()
    assert losses[-1] < losses[0]
