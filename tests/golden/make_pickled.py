"""Makes tests/fixtures/pickled: the same tensors in PyTorch's own format and in safetensors.

    pip install torch==2.9.1 safetensors==0.8.0 numpy==2.4.6
    python tests/golden/make_pickled.py
"""

import zipfile
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file

folder = Path(__file__).parent.parent / "fixtures" / "pickled"
folder.mkdir(parents=True, exist_ok=True)
torch.manual_seed(20250803)
tensors = OrderedDict(
    [
        ("text_model.embeddings.position_ids", torch.arange(4).expand(1, -1).contiguous()),
        ("text_projection.weight", torch.randn(3, 4)),
        ("visual_projection.weight", torch.randn(3, 5).half()),
        ("vision_model.embeddings.class_embedding", torch.nn.Parameter(torch.randn(5).bfloat16())),
        ("logit_scale", torch.tensor(4.6052)),
    ]
)
torch.save(tensors, folder / "pytorch_model.bin")
save_file({name: tensor.detach() for name, tensor in tensors.items()}, folder / "expected.safetensors")

# A tensor that is to be rebuilt from no arguments at all.
malformed = b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_parameter\n)Rs."
with zipfile.ZipFile(folder / "malformed.bin", "w") as file:
    file.writestr(zipfile.ZipInfo("archive/data.pkl"), malformed)
