"""What each of two ranks does in `test_evaluation_ranks`; a module of its own, for a fresh process to import."""

import os
import warnings
from pathlib import Path

import torch
import torch.distributed as dist

from pixelcontrast.data import Camvid
from pixelcontrast.engine.protocol import EvaluationOptions
from pixelcontrast.engine.run_folder import EvaluationFolder
from pixelcontrast.engine.scores import Scores
from pixelcontrast.engine.scoring import score_split
from pixelcontrast.nn.heads import FCN
from pixelcontrast.nn.options import ModelOptions
from pixelcontrast.nn.segmentor import Segmentor

WORLD = 2


def evaluate(root: Path, folder: Path) -> Scores:
    """Score an untrained network, whose weights every process makes alike."""
    torch.manual_seed(1)
    segmentor = Segmentor(ModelOptions(backbone="test_resnet", head=FCN()), 11)
    data, device = Camvid(root=str(root), workers=0), torch.device("cpu")
    options = EvaluationOptions(scales=(0.5, 1.0), flip=True, window=(48, 64))
    return score_split(
        segmentor, data, "train", device=device, step=0, protocol=options, folder=EvaluationFolder(folder)
    )


def work(rank: int, root: str, folder: str) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    warnings.simplefilter("error")  # as the suite has it; a new process does not
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORLD)
    evaluate(Path(root), Path(folder) / "two").save(Path(folder) / f"rank{rank}.json")
    dist.barrier()
    dist.destroy_process_group()
