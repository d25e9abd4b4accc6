"""Writes tests/golden/preprocess/*.png: what transformers and Pillow make of pictures that tests/it/photo.rs
makes too, as 8-bit values before rescaling and normalisation.

Made with Python 3.11, transformers 5.5.4 and Pillow 13.0.0. The tests do not need Python.

    python tests/golden/make_preprocess.py
"""

from pathlib import Path

import numpy as np
import PIL
import transformers
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from make_preprocess_picture import picture

assert transformers.__version__ == "5.5.4", transformers.__version__
assert PIL.__version__ == "13.0.0", PIL.__version__

OUT = Path(__file__).parent / "preprocess"
SIDE, PATCH = 64, 16  # a model of 4 x 4 patches
WHOLE = {(225, 224): (4, 4), (97, 131): (4, 3), (40, 333): (9, 1)}  # (width, height): (rows, columns)


def crop(image, size, crop_size):
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": size}, crop_size=crop_size, do_rescale=False, do_normalize=False
    )
    values = processor(image)["pixel_values"][0]
    return Image.fromarray(np.asarray(values, dtype=np.uint8).transpose(1, 2, 0))


OUT.mkdir(exist_ok=True)
for (width, height), (rows, columns) in WHOLE.items():
    image = picture(width, height)
    results = {
        "crop": crop(image, SIDE, SIDE),
        "padded": crop(image, 37, SIDE),
        "squash": image.resize((SIDE, SIDE), Image.Resampling.BICUBIC),
        "bilinear": image.resize((SIDE, SIDE), Image.Resampling.BILINEAR),
        "whole": image.resize((columns * PATCH, rows * PATCH), Image.Resampling.BICUBIC),
    }
    for name, result in results.items():
        result.save(OUT / f"{width}x{height}.{name}.png", optimize=True)
