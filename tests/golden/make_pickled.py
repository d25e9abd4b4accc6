"""Makes tests/fixtures/pickled: the same tensors in safetensors and in what torch.save and training code make of them.

    pip install torch==2.9.1 safetensors==0.8.0 numpy==2.4.6
    python tests/golden/make_pickled.py

The forms in folders of their own were made by torch 2.15.0.
"""

import argparse
import json
import shutil
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path

import torch
from safetensors.torch import save_file

folder = Path(__file__).parent.parent / "fixtures" / "pickled"
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
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

# The same in other forms, each in a folder of its own.
tensors = OrderedDict((name, tensor.detach()) for name, tensor in tensors.items())
LEGACY = {"_use_new_zipfile_serialization": False}


def save(name, what, file="pytorch_model.bin", **options):
    (folder / name).mkdir(exist_ok=True)
    torch.save(what, folder / name / file, **options)


def strided(tensor):
    """The same numbers, the last axis not the fastest."""
    return tensor.t().contiguous().t() if tensor.dim() == 2 else tensor


def shared(tensors):
    """Parts of one storage for each type of numbers, the first of them not at its beginning."""
    parts = {}
    for dtype in {tensor.dtype for tensor in tensors.values()}:
        names = [name for name, tensor in tensors.items() if tensor.dtype == dtype]
        storage = torch.cat([torch.zeros(3, dtype=dtype)] + [tensors[name].flatten() for name in names])
        at = 3
        for name in names:
            count = tensors[name].numel()
            parts[name] = storage[at : at + count].view(tensors[name].shape)
            at += count
    return parts


class Settings:
    """A class that only the training code has."""


def training():
    """What Lightning saves: the weights among everything else."""
    settings = Settings()
    settings.path = Path("runs")
    settings.size = torch.Size([2, 3])
    return {
        "epoch": 1,
        "state_dict": tensors,
        "loops": {"fit": defaultdict(list, {"a": [1.5, None]})},
        "callbacks": {"ModelCheckpoint": {"best": torch.tensor(1.0), "folder": Path("runs")}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}],
        "hyper_parameters": {
            "arguments": argparse.Namespace(names=["a"], dtype=torch.float16, device=torch.device("cpu")),
            "settings": settings,
            "others": [{1, 2}, frozenset([3]), b"bytes", 1 << 90, -1, 3.5, True, (1, 2, 3, 4)],
        },
    }


for prefix, options in [("", {}), ("legacy_", LEGACY)]:
    save(prefix + "plain", dict(tensors), **options)
    save(prefix + "strided", {name: strided(tensor) for name, tensor in tensors.items()}, **options)
    save(prefix + "shared", shared(tensors), **options)
    save(prefix + "parameters", {n: torch.nn.Parameter(t, requires_grad=False) for n, t in tensors.items()}, **options)
    save(prefix + "training", training(), **options)
    save(prefix + "protocol_4", tensors, pickle_protocol=4, **options)
    others = {"empty": torch.zeros(0, 4), "complex": torch.zeros(2, dtype=torch.complex64), "flags": torch.ones(3) > 0}
    save(prefix + "others", {**others, **tensors, "pair": (torch.zeros(2), 1), "list": [torch.ones(1)], "z": "x"}, **options)
    names = list(tensors)
    for shard, part in [("00001", names[::2]), ("00002", names[1::2])]:
        save(prefix + "shards", {name: tensors[name] for name in part}, f"pytorch_model-{shard}-of-00002.bin", **options)
    shards = {name: f"pytorch_model-0000{1 + place % 2}-of-00002.bin" for place, name in enumerate(names)}
    index = {"metadata": {"total_size": float("inf")}, "weight_map": shards}
    (folder / (prefix + "shards") / "pytorch_model.bin.index.json").write_text(json.dumps(index))
for name in ["state_dict", "model_state_dict", "model", "module"]:
    save("in_" + name, {"epoch": 3, name: tensors, "lr": torch.tensor(0.1)})
save("in_model_module", {"model": {"module": tensors}})
