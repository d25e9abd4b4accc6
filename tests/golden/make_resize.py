"""Writes tests/golden/preprocess/resized.json: SHA-256 of what Pillow's `Image.resize` makes of pictures that tests/it/photo.rs
makes too, for every filter and shapes that shrink, grow and keep either side.

Made with Pillow 13.0.0. The tests do not need Python.

    python tests/golden/make_resize.py
"""

import hashlib
import json
from pathlib import Path

import PIL
from PIL import Image

from make_preprocess_picture import picture

assert PIL.__version__ == "13.0.0", PIL.__version__

SHAPES = [
    ((225, 224), (64, 64)),
    ((225, 224), (224, 224)),
    ((97, 131), (336, 448)),
    ((40, 333), (40, 50)),
    ((640, 427), (336, 224)),
    ((427, 640), (5, 3)),
    ((300, 7), (31, 90)),
    ((1, 500), (224, 224)),
    ((3, 2), (160, 1)),
]
FILTERS = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]

results = []
for (width, height), (to_width, to_height) in SHAPES:
    image = picture(width, height)
    for code, name in enumerate(FILTERS):
        assert Image.Resampling[name.upper()] == code
        resized = image.resize((to_width, to_height), code)
        digest = hashlib.sha256(resized.tobytes()).hexdigest()
        results.append({"from": [width, height], "to": [to_width, to_height], "filter": code, "sha256": digest})

out = Path(__file__).parent / "preprocess" / "resized.json"
lines = ",\n".join("  " + json.dumps(result) for result in results)
out.write_text(f"[\n{lines}\n]\n")
