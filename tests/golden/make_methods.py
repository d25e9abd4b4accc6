"""Makes the expected maps of the methods beside Grad-CAM and HiResCAM, and of the softmax objective.

The reference is pytorch-grad-cam: each of its classes makes the map that it would then rectify and scale. gScoreCAM,
which it does not have, is computed here from its definition. Every gradient method is also computed by hand in
float64, which shows how much of a difference is rounding. Run it after make_golden.py, whose checkpoints and photos it
reads; the versions and --check are the same.

    python tests/golden/make_methods.py [--check]

Written: tests/golden/parity/<checkpoint>.methods.safetensors with <checkpoint>.methods.json.
"""

import argparse
import copy
import sys
import tempfile
from pathlib import Path

import make_golden as golden
import numpy as np
import pytorch_grad_cam
import tiny_checkpoints
import torch
from PIL import Image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget
from safetensors.torch import save_file
from tiny_checkpoints import PHOTOS, write_json
from transformers import CLIPModel

METHODS = {
    "layer-cam": pytorch_grad_cam.LayerCAM,
    "grad-cam-elementwise": pytorch_grad_cam.GradCAMElementWise,
    "grad-cam-plus-plus": pytorch_grad_cam.GradCAMPlusPlus,
    "xgrad-cam": pytorch_grad_cam.XGradCAM,
    "eigen-cam": pytorch_grad_cam.EigenCAM,
    "eigen-grad-cam": pytorch_grad_cam.EigenGradCAM,
    "score-cam": pytorch_grad_cam.ScoreCAM,
}
# The package's Grad-CAM and HiResCAM turn the Eigen-CAMs, whose sign is arbitrary.
GUIDES = {"eigen-cam": pytorch_grad_cam.GradCAM, "eigen-grad-cam": pytorch_grad_cam.HiResCAM}
FITS = ["squash", "wide"]
GSCORE_CHANNELS = 12
# A map that is farther from float64 than this, in relative norm, is left out: it says more about rounding than about
# the method. Only Grad-CAM++ has any, whose denominator can come near zero behind a layer norm.
ROUNDING = 3e-4


def objectives():
    """Name to objective. Softmax is CLIP-ES's target: strength has no part in it.

    `softmax-rival` takes prompt 1 among the same prompts as the target: the winner's own probability is nearly flat.
    """
    known = golden.objectives()
    first = ClassifierOutputSoftmaxTarget(0)
    softmax = {
        "softmax-target": golden.Objective("softmax", 1.0, golden.TARGET, golden.REFERENCES, first),
        "softmax-rival": golden.Objective("softmax", 1.0, 1, [0, 2, 3], first),
    }
    return {name: known[name] for name in ("plain", "mean-0.6")} | softmax


def cases():
    """The methods for each objective: all of them for the logits, two for the probabilities."""
    for name, objective in objectives().items():
        methods = {"grad-cam": pytorch_grad_cam.GradCAM, "layer-cam": pytorch_grad_cam.LayerCAM}
        yield name, objective, methods if objective.aggregate == "softmax" else METHODS


# --------------------------------------------------------------------------------------------------------------------
# By hand, in float64: activations and gradients [patches, width] to a map [patches].


def principal(rows):
    centred = rows - rows.mean(dim=0)
    return centred @ torch.linalg.svd(centred, full_matrices=False).Vh[0]


def plus_plus(a, g):
    coefficients = g**2 / (2 * g**2 + a.sum(dim=0) * g**3 + 1e-6)
    return a @ (g.clamp(min=0) * coefficients).sum(dim=0)


BY_HAND = {
    "grad-cam": lambda a, g: a @ g.mean(dim=0),
    "layer-cam": lambda a, g: (g.clamp(min=0) * a).sum(dim=1),
    "grad-cam-elementwise": lambda a, g: (g * a).clamp(min=0).sum(dim=1),
    "grad-cam-plus-plus": plus_plus,
    "xgrad-cam": lambda a, g: a @ ((g * a).sum(dim=0) / (a.sum(dim=0) + 1e-7)),
    "eigen-cam": lambda a, g: principal(a),
    "eigen-grad-cam": lambda a, g: principal(g * a),
}


def gscore_cam(scores, activations, gradients, pixels, target, grid):
    """Score-CAM over the channels with the largest mean gradient; the others have no weight. [patches]"""
    channels = gradients.mean(dim=0).argsort(descending=True)[:GSCORE_CHANNELS]
    chosen = activations[:, channels].T.reshape(1, -1, *grid)
    masks = torch.nn.functional.interpolate(chosen, pixels.shape[2:], mode="bilinear", align_corners=True)[0]
    low, high = masks.amin(dim=(1, 2), keepdim=True), masks.amax(dim=(1, 2), keepdim=True)
    copies = pixels * ((masks - low) / (high - low + 1e-8))[:, None]
    with torch.no_grad():
        weights = torch.stack([target(scores(one[None])[0]) for one in copies]).softmax(dim=0)
    return activations[:, channels] @ weights


# --------------------------------------------------------------------------------------------------------------------


def turned(raw, guide):
    return raw if (raw * guide).sum() >= 0 else -raw


def package_map(method, package_class, scores, layer, pixels, target):
    """The package's map before its ReLU; the Eigen-CAMs are turned towards the package's Grad-CAM or HiResCAM."""

    class WithGradients(package_class):
        """make_golden keeps gradients of every method; some would ask for none."""

        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            self.uses_gradients = True

    raw = golden.trace(WithGradients, scores, layer, pixels, target).raw
    if method in GUIDES:
        raw = turned(raw, golden.trace(GUIDES[method], scores, layer, pixels, target).raw)
    return raw


def maps_of(scores, exact, fit, pixels):
    """Every map of one pixel case, as (settings, tensors)."""
    settings, tensors, noise = [], {}, {}
    batch = pixels[None].contiguous()
    patch = scores.model.config.vision_config.patch_size
    grid = (pixels.shape[1] // patch, pixels.shape[2] // patch)

    def keep(method, objective, target, layer, values, **more):
        name = f"map.{fit}.{method}.{objective}.layer{layer}"
        tensors[name] = torch.as_tensor(values).float().reshape(grid)
        settings.append(
            {"tensor": name, "fit": fit, "method": method, "layer": layer, **target.settings(), **more}
        )

    for layer in golden.LAYERS:
        for objective, target, methods in cases():
            activations, gradients = (x[1:] for x in golden.by_hand(exact, layer, batch.double(), target))
            for method, package_class in methods.items():
                raw = package_map(method, package_class, scores, layer, batch, target)
                if method in BY_HAND:
                    by_hand = BY_HAND[method](activations, gradients).reshape(grid).numpy()
                    off = golden.relative_difference(raw, turned(by_hand, raw))
                    if off > ROUNDING:
                        print(f"  {fit}: {method}, {objective}, layer {layer}: left out, {off:.1e} off float64")
                        continue
                    noise[method] = max(noise.get(method, 0.0), off)
                keep(method, objective, target, layer, raw)
            if methods is METHODS:
                made = gscore_cam(exact, activations, gradients, batch.double(), target, grid)
                keep("gscore-cam", objective, target, layer, made, channels=GSCORE_CHANNELS)
    print(f"  {fit}: kept within " + ", ".join(f"{off:.0e} ({method})" for method, off in noise.items()))
    return settings, tensors


def make_checkpoint(checkpoint, tests, root):
    folder = tests / "fixtures/models" / checkpoint.name
    photos = {name: Image.open(tests / "fixtures/photos" / name).convert("RGB") for name in PHOTOS}
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    _, embeds = golden.golden_text(checkpoint, folder, model)
    compared = embeds[[golden.TARGET, *golden.REFERENCES]]
    scores = golden.Scores(model, compared)
    exact = golden.Scores(copy.deepcopy(model).double(), compared.double())
    maps, tensors = [], {}
    for fit, pixels in golden.case_pixels(checkpoint, folder, photos).items():
        if fit not in FITS:
            continue
        settings, made = maps_of(scores, exact, fit, pixels)
        with torch.no_grad():
            logits = scores(pixels[None])[0]
        tensors |= made | {f"objective.{fit}.{name}": target(logits) for name, target in objectives().items()}
        maps += settings
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in sorted(tensors.items())}
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())
    parity = root / "golden/parity"
    parity.mkdir(parents=True, exist_ok=True)
    save_file(tensors, parity / f"{checkpoint.name}.methods.safetensors")
    (parity / f"{checkpoint.name}.methods.safetensors").chmod(0o644)
    write_json(parity / f"{checkpoint.name}.methods.json", {"checkpoint": checkpoint.name, "maps": maps})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with what is committed, change nothing")
    arguments = parser.parse_args()
    golden.logging.set_verbosity_error()
    torch.set_num_threads(1)
    np.seterr(all="raise")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) if arguments.check else golden.TESTS
        for checkpoint in (tiny_checkpoints.tiny_quick_gelu(), tiny_checkpoints.tiny_gelu()):
            print(checkpoint.name)
            make_checkpoint(checkpoint, golden.TESTS, root)
        if arguments.check:
            golden.check_against_committed(root)


if __name__ == "__main__":
    sys.exit(main())
