"""Makes the expected values of class-aware attention affinity (CLIP-ES) for the tiny checkpoints.

CLIP-ES is no Python package, so its formulas are written out here, with transformers' attention and scipy's connected
components: float64, no code shared with the Rust side. Two departures from CLIP-ES's code are ours and are in here too
(src/refine/affinity.rs says why): maps are signed, of which only the part for the concept is refined, and boxes are neither cut at the last
row and column nor found on a map of 8 bits.

    pip install torch==2.9.1 transformers==5.5.4 safetensors==0.8.0 numpy==2.4.6 scipy==1.17.1
    python tests/golden/make_affinity.py            # in place
    python tests/golden/make_affinity.py --check    # compares with what is committed

It reads the checkpoints, pixels and maps that make_golden.py wrote.
"""

import sys
from pathlib import Path

import numpy as np
import scipy.ndimage
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPModel

TESTS = Path(__file__).resolve().parent.parent
BLOCKS = 8
BOX_THRESHOLD = 0.4
MAPS = ["grad-cam.plain", "hires-cam.mean-0.6"]


def attention_between_patches(model, pixels):
    """The mean over heads and the last blocks, [patches, patches]."""
    with torch.no_grad():
        output = model.vision_model(
            pixel_values=pixels[None], output_attentions=True, interpolate_pos_encoding=True
        )
    blocks = [attention[0].double().mean(dim=0) for attention in output.attentions[-BLOCKS:]]
    return torch.stack(blocks).mean(dim=0)[1:, 1:].numpy()


def transition(attention):
    matrix = attention
    for _ in range(3):
        matrix = matrix / matrix.sum(axis=0, keepdims=True)
        matrix = matrix / matrix.sum(axis=1, keepdims=True)
    matrix = (matrix + matrix.T) / 2
    return matrix @ matrix


def box_mask(strength):
    """1 in the bounding boxes of the strong parts (8 neighbours), else 0."""
    mask = np.zeros_like(strength)
    strong, _ = scipy.ndimage.label(strength > BOX_THRESHOLD * strength.max(), structure=np.ones((3, 3)))
    for rows, columns in scipy.ndimage.find_objects(strong):
        mask[rows, columns] = 1
    return mask


def refined(matrix, signed):
    strength = np.maximum(signed, 0)
    masked = matrix * box_mask(strength).reshape(1, -1)
    return (masked @ strength.reshape(-1, 1)).reshape(signed.shape) + np.minimum(signed, 0)


def make():
    tensors = {}
    for name in ("tiny-quick-gelu", "tiny-gelu"):
        golden = load_file(TESTS / f"golden/parity/{name}.safetensors")
        folder = TESTS / "fixtures/models" / name
        model = CLIPModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        for fit in ("squash", "wide"):
            matrix = transition(attention_between_patches(model, golden[f"pixels.{fit}"]))
            for case in MAPS:
                signed = golden[f"map.{fit}.{case}.layer-1"].double().numpy()
                found = refined(matrix, signed)
                assert (signed > 0).any() and (signed < 0).any(), "both signs are tested"
                change = np.linalg.norm(found - signed) / np.linalg.norm(signed)
                print(f"{name} {fit} {case}: {signed.shape}, changed by {change:.2f}")
                tensors[f"{name}/map.{fit}.{case}.layer-1"] = torch.from_numpy(found).float().contiguous()
    return tensors


def main():
    path = TESTS / "golden/parity/affinity.safetensors"
    made = make()
    if "--check" not in sys.argv:
        save_file(made, path)
        path.chmod(0o644)
        return
    committed = load_file(path)
    assert made.keys() == committed.keys(), "other tensors are committed"
    worst = max((made[name] - committed[name]).norm() / committed[name].norm() for name in made)
    assert worst < 1e-4, f"differs from what is committed by {worst}"
    print(f"as committed, within {worst:.1e}")


if __name__ == "__main__":
    main()
