"""Memory and time of a prediction in windows, of an image whose probabilities would not fit into memory.

    python benchmarks/windows.py

The network is a tiny one, so that what is measured are the windows and their merging, and the size of the probabilities
is told beside it. Peak memory is the process's, libraries, image and labels included.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

import torch
from measure import MEBIBYTE, write

from pixelcontrast.engine.predictor import evaluating, predict
from pixelcontrast.engine.protocol import EvaluationOptions
from pixelcontrast.nn.heads import FCN
from pixelcontrast.nn.options import ModelOptions
from pixelcontrast.nn.segmentor import Segmentor

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=171)
    parser.add_argument("--image", type=size, default=(4096, 8192))
    parser.add_argument("--window", type=size, default=(512, 1024))
    parser.add_argument("--overlap", type=float, default=1 / 3)
    parser.add_argument("--output", type=Path, default=RESULTS / "windows_cpu.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    segmentor = Segmentor(ModelOptions(backbone="test_resnet", head=FCN()), options.classes)
    image = torch.randn(1, 3, *options.image)
    protocol = EvaluationOptions(window=options.window, overlap=options.overlap)
    before, begin = peak_mib(), time.process_time()
    with evaluating(segmentor):
        prediction = predict(segmentor, image, protocol)
    seconds, peak = time.process_time() - begin, peak_mib()
    assert prediction.labels.shape == (1, *options.image)
    volume = 4 * options.classes * options.image[0] * options.image[1] / MEBIBYTE
    row_of_windows = 4 * options.classes * options.window[0] * options.image[1] / MEBIBYTE
    results = {
        "seconds": seconds,
        "peak_mib": peak,
        "peak_mib_before": before,
        "all_probabilities_mib": volume,
        "one_row_of_windows_mib": row_of_windows,
    }
    print(results)
    settings = {
        "classes": options.classes,
        "image": options.image,
        "window": options.window,
        "overlap": options.overlap,
        "network": "test_resnet + fcn",
    }
    write(options.output, {"settings": settings, "results": results})


def size(text: str) -> tuple[int, int]:
    height, width = text.split("x")
    return int(height), int(width)


def peak_mib() -> float:
    """Most memory that the process ever held in RAM, libraries included."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEBIBYTE


if __name__ == "__main__":
    main()
