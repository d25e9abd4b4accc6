"""Makes the parity fixtures: small seeded CLIP and SigLIP checkpoints, two pictures, and what the reference computes for them.

The reference is transformers (tokenizer, preprocessing, both towers) and pytorch-grad-cam (Grad-CAM, HiResCAM and
the weighted contrast), in float32 on the processor. The Rust tests only read what this script writes; they need
no Python.

Usage, from anywhere, with the packages of PINNED installed:

    python tests/golden/make_golden.py            # writes everything again, in place
    python tests/golden/make_golden.py --check    # writes to a temporary folder and compares with what is committed

Written: tests/fixtures/models/<checkpoint>/, tests/fixtures/photos/*.png and
tests/golden/parity/<checkpoint>.safetensors with <checkpoint>.json. MANIFEST.md says what each tensor is.
"""

import argparse
import copy
import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PINNED = {
    "torch": "2.9.1",
    "torchvision": "0.24.1",
    "transformers": "5.5.4",
    "tokenizers": "0.22.2",
    "safetensors": "0.8.0",
    "grad-cam": "1.5.7",
    "pillow": "13.0.0",
    "numpy": "2.4.6",
    "sentencepiece": "0.2.3",
}


def check_versions():
    """Stops unless every pinned package has its pinned version (a local suffix such as +cpu is fine)."""
    found = {name: importlib.metadata.version(name).split("+")[0] for name in PINNED}
    wrong = [f"{name} {PINNED[name]} (found {found[name]})" for name in PINNED if found[name] != PINNED[name]]
    if wrong:
        sys.exit("make_golden.py needs " + ", ".join(wrong))


check_versions()
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from pytorch_grad_cam import GradCAM, HiResCAM  # noqa: E402
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget, FinerWeightedTarget  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from transformers import logging  # noqa: E402

import families  # noqa: E402
import tiny_checkpoints  # noqa: E402
import tiny_siglips  # noqa: E402
from families import unit  # noqa: E402
from tiny_checkpoints import PHOTOS, write_json  # noqa: E402

TESTS = Path(__file__).resolve().parent.parent

# Prompt 0 is the target and the next three are its references wherever a map is made. The others try the tokenizer.
PROMPTS = [
    "red-winged blackbird shoulder",
    "yellow-headed blackbird",
    "rusty blackbird",
    "house sparrow",
    "A photo of a BIRD, isn't it? It's 24cm!!",
    "a red-winged blackbird that sings on a reed above the yellow marsh while a rusty blackbird and a sparrow wait",
    "größer als ein Spatz – 鳥 🐦",
    "cafe\u0301 ÅNGSTRÖM İki ǅep",
    "  lots \t of \n\u3000 space\u00a0here  ",
    "a <|endoftext|> in the middle",
    "...",
    "!",
    "",
]
TARGET = 0
REFERENCES = [1, 2, 3]
LAYERS = [-1, -2, -3]


# --------------------------------------------------------------------------------------------------------------------
# What the reference computes: text and pixels.


def golden_text(checkpoint, folder, model):
    """Token ids of every prompt, and the unit text embeddings [prompts, dim]."""
    tokenizer = checkpoint.family.tokenizer(folder)
    context = checkpoint.context
    texts = [checkpoint.family.text(prompt) for prompt in PROMPTS]
    ids = [checkpoint.family.ids(tokenizer, text, context) for text in texts]
    lengths = [len(tokenizer(text).input_ids) for text in texts]
    if checkpoint.tokenizer_json:
        check_tokenizer_json(folder, ids, context)
    padded = tokenizer(texts, truncation=True, max_length=context, padding="max_length", return_tensors="pt")
    with torch.no_grad():
        embeds = torch.cat([unit(model.get_text_features(torch.tensor([row])).pooler_output) for row in ids])
        together = unit(model.get_text_features(padded.input_ids).pooler_output)
    assert (embeds - together).abs().max() < 1e-5, "CLIP's padding, or company, changed a text embedding"
    tokens = [
        {"prompt": prompt, "ids": row, "untruncated_length": length}
        for prompt, row, length in zip(PROMPTS, ids, lengths)
    ]
    return tokens, embeds


def check_tokenizer_json(folder, ids, context):
    """The tokenizers library alone reads the same ids from the file."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(context)
    assert [tokenizer.encode(prompt).ids for prompt in PROMPTS] == ids


def golden_preprocessing(checkpoint, folder, photos):
    """8-bit [3, height, width] pictures, resized and cropped by both of transformers' processors and by Pillow."""
    size = checkpoint.image_size
    processors = {kind: made.from_pretrained(folder) for kind, made in checkpoint.family.image_processors.items()}
    tensors = {}
    for name, photo in photos.items():
        for kind, processor in processors.items():
            pixels = processor(photo, do_rescale=False, do_normalize=False, return_tensors="pt").pixel_values[0]
            assert pixels.shape == (3, size, size) and torch.equal(pixels, pixels.to(torch.uint8).to(pixels.dtype))
            tensors[f"preprocess.{name}.{kind}"] = pixels.to(torch.uint8)
        tensors[f"preprocess.{name}.squash"] = eight_bit(resized(checkpoint, photo, size, size))
    return tensors


def case_pixels(checkpoint, folder, photos):
    """The exact float32 pixels [3, height, width] that the model is given in each case."""
    size, patch = checkpoint.image_size, checkpoint.patch_size
    rows, columns = checkpoint.wide_grid
    landscape, portrait = (photos[name] for name in PHOTOS)
    squash = resized(checkpoint, landscape, size, size)
    wide = resized(checkpoint, landscape, columns * patch, rows * patch)
    processor = checkpoint.family.image_processors["crop.torchvision"].from_pretrained(folder)
    crop = processor(portrait, return_tensors="pt").pixel_values[0]
    return {"squash": normalised(checkpoint, squash), "crop": crop, "wide": normalised(checkpoint, wide)}


def resized(checkpoint, photo, width, height):
    """By Pillow, with the checkpoint's filter."""
    return photo.resize((width, height), Image.Resampling(checkpoint.preprocessor["resample"]))


def eight_bit(picture):
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def normalised(checkpoint, picture):
    mean, std = (torch.tensor(checkpoint.preprocessor[key])[:, None, None] for key in ("image_mean", "image_std"))
    return (eight_bit(picture).float() / 255 - mean) / std


# --------------------------------------------------------------------------------------------------------------------
# What the reference computes: maps.


class Scores(torch.nn.Module):
    """Pixels to logits_per_image [batch, prompts] for fixed text embeddings: what pytorch-grad-cam differentiates."""

    def __init__(self, family, model, text_embeds):
        super().__init__()
        self.family, self.model, self.text_embeds = family, model, text_embeds

    def from_pooled(self, pooled):
        return self.family.scores(self.model, pooled, self.text_embeds)

    def embed(self, pixels):
        pooled = self.model.vision_model(pixel_values=pixels, interpolate_pos_encoding=True).pooler_output
        return self.from_pooled(pooled)

    def forward(self, pixels):
        return self.embed(pixels)[1]


class MeanContrast:
    """Finer-CAM's contrast as in its paper: the target's logit minus strength times the references' mean."""

    def __init__(self, strength):
        self.strength = strength

    def __call__(self, logits):
        return logits[0] - self.strength * logits[1:].mean()


@dataclass
class Objective:
    """A scalar of the compared prompts' logits. `contrast` is given the target's logit first, then the references'."""

    aggregate: str
    strength: float
    target: int
    against: list
    contrast: Callable

    def __call__(self, logits):
        return self.contrast(logits[[self.target, *self.against]])

    def settings(self):
        return {"target": self.target, "against": self.against, "aggregate": self.aggregate, "strength": self.strength}


def weighted(target, against, strength):
    package_class = FinerWeightedTarget(0, list(range(1, len(against) + 1)), strength)
    return Objective("weighted", strength, target, against, package_class)


def objectives():
    """Name to objective. `floor`: where the target wins by far, the package's 1e-9 in the denominator counts."""
    cases = {"plain": Objective("plain", 0.0, TARGET, [], ClassifierOutputTarget(0))}
    for strength in (0.0, 0.6, 1.0):
        cases[f"mean-{strength}"] = Objective("mean", strength, TARGET, REFERENCES, MeanContrast(strength))
        cases[f"weighted-{strength}"] = weighted(TARGET, REFERENCES, strength)
    cases["floor-0.6"] = weighted(2, [0, 1], 0.6)
    return cases


@dataclass
class Traced:
    """What pytorch-grad-cam saw and made at one layer for one objective."""

    raw: np.ndarray  # [rows, columns], before ReLU
    finished: np.ndarray  # [height, width], after its ReLU, scaling and resizing
    activations: np.ndarray  # [width, rows, columns]
    gradients: np.ndarray  # [width, rows, columns]


def trace(method, scores, layer, pixels, target):
    """Runs pytorch-grad-cam itself; its own get_cam_image gives the map that it then rectifies and resizes."""
    patch = scores.model.config.vision_config.patch_size
    rows, columns = pixels.shape[2] // patch, pixels.shape[3] // patch

    def to_grid(tokens):
        return tokens[:, scores.family.prefix_tokens :].reshape(tokens.shape[0], rows, columns, -1).permute(0, 3, 1, 2)

    layer_norm = scores.model.vision_model.encoder.layers[layer].layer_norm1
    with method(scores, [layer_norm], reshape_transform=to_grid) as cam:
        finished = cam(pixels, [target])
        kept = cam.activations_and_grads
        activations, gradients = kept.activations[0].numpy(), kept.gradients[0].numpy()
        raw = cam.get_cam_image(pixels, layer_norm, [target], activations, gradients, False)
    return Traced(raw[0].copy(), finished[0].copy(), activations[0].copy(), gradients[0].copy())


def by_hand(scores, layer, pixels, target):
    """Activations and gradients [tokens, width] at a block's layer_norm1 output, with no hooks, in float64.

    The block is written out here (its first norm's output is the leaf), so this does not depend on the package.
    """
    vision = scores.model.vision_model
    layers = vision.encoder.layers
    hidden = scores.family.first_hidden(vision, pixels)
    index = layer % len(layers)
    for block in layers[:index]:
        hidden = block(hidden, None)
    block = layers[index]
    leaf = block.layer_norm1(hidden).detach().requires_grad_()
    hidden = hidden.detach() + block.self_attn(hidden_states=leaf, attention_mask=None)[0]
    hidden = hidden + block.mlp(block.layer_norm2(hidden))
    for block in layers[index + 1 :]:
        hidden = block(hidden, None)
    logits = scores.from_pooled(scores.family.pooled(vision, hidden))[1][0]
    (gradient,) = torch.autograd.grad(target(logits), leaf)
    return leaf.detach()[0], gradient[0]


def map_by_hand(method, patches, slopes, grid):
    weights = slopes.mean(dim=0) if method == "grad-cam" else slopes
    return (weights * patches).sum(dim=-1).reshape(grid).numpy()


def relative_difference(found, expected):
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


METHODS = {"grad-cam": GradCAM, "hires-cam": HiResCAM}


def golden_maps(scores, exact, fit, pixels):
    """Every map of one pixel case, as (settings, tensors); each is checked against the hand-made one in float64."""
    settings, tensors, noise = [], {}, []
    batch = pixels[None].contiguous()
    for layer in LAYERS:
        for objective, target in objectives().items():
            by_token = by_hand(exact, layer, batch.double(), target)
            activations, gradients = (tokens[scores.family.prefix_tokens :] for tokens in by_token)
            for method, package_class in METHODS.items():
                traced = trace(package_class, scores, layer, batch, target)
                noise.append(check_against_hand(method, traced, activations, gradients))
                name = f"map.{fit}.{method}.{objective}.layer{layer}"
                tensors[name] = torch.from_numpy(traced.raw)
                settings.append({"tensor": name, "fit": fit, "method": method, "layer": layer, **target.settings()})
                if scores.family is families.Clip and (method, objective, layer) == ("grad-cam", "mean-0.6", -1):
                    tensors[f"finished.{fit}.{method}.{objective}.layer{layer}"] = torch.from_numpy(traced.finished)
    check_strength_zero(tensors, fit)
    print(f"  {fit}: {len(settings)} maps, within {max(noise):.1e} of float64")
    return settings, tensors


def check_against_hand(method, traced, activations, gradients):
    """The relative difference of the package's float32 map from the hand-made float64 one."""
    width, rows, columns = traced.activations.shape
    for kept, expected in ((traced.activations, activations), (traced.gradients, gradients)):
        wanted = expected.T.reshape(width, rows, columns).numpy()
        assert relative_difference(kept, wanted) < 1e-4, "the hook saw something else than layer_norm1's output"
    noise = relative_difference(traced.raw, map_by_hand(method, activations, gradients, (rows, columns)))
    assert noise < 1e-4, f"{method}: the package's map differs from the one made by hand by {noise}"
    return noise


def check_strength_zero(tensors, fit):
    """Strength 0 is the plain map; also when weighted, where the references do not vanish beside the target."""
    for method in METHODS:
        for layer in LAYERS:
            plain = tensors[f"map.{fit}.{method}.plain.layer{layer}"].numpy()
            for aggregate in ("mean", "weighted"):
                zero = tensors[f"map.{fit}.{method}.{aggregate}-0.0.layer{layer}"].numpy()
                assert relative_difference(zero, plain) < 1e-4


def golden_hidden(scores, pixels):
    """The first five tokens' hidden states [blocks + 1, 5, width]: before the first block, then after each."""
    vision = scores.model.vision_model
    with torch.no_grad():
        hidden = [scores.family.first_hidden(vision, pixels[None])]
        for block in vision.encoder.layers:
            hidden.append(block(hidden[-1], None))
    return torch.stack([tokens[0, :5] for tokens in hidden])


def golden_gradient(exact, pixels):
    """Activations and the plain objective's gradient [tokens, width] at the last block, a class token first."""
    activations, gradients = by_hand(exact, -1, pixels[None].double(), objectives()["plain"])
    return activations.float(), gradients.float()


# --------------------------------------------------------------------------------------------------------------------
# Everything of one checkpoint.


def golden_of(checkpoint, folder, photos):
    """All expected tensors of one checkpoint and the JSON that describes them."""
    family = checkpoint.family
    model = family.model.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    tokens, text_embeds = golden_text(checkpoint, folder, model)
    compared = text_embeds[[TARGET, *REFERENCES]]
    scores, exact = (
        Scores(family, model, compared),
        Scores(family, copy.deepcopy(model).double(), compared.double()),
    )
    tensors = {"text_embeds": text_embeds, "logit_scale": model.logit_scale.detach().exp()}
    if family is not families.Clip:
        tensors["logit_bias"] = model.logit_bias.detach()
    tensors |= golden_preprocessing(checkpoint, folder, photos)
    cases, maps = [], []
    for fit, pixels in case_pixels(checkpoint, folder, photos).items():
        with torch.no_grad():
            image_embeds, logits = scores.embed(pixels[None])
        tensors |= {f"pixels.{fit}": pixels, f"image_embeds.{fit}": image_embeds[0], f"logits.{fit}": logits[0]}
        settings, made = golden_maps(scores, exact, fit, pixels)
        maps += settings
        tensors |= made
        tensors |= {f"objective.{fit}.{name}": target(logits[0]) for name, target in objectives().items()}
        grid = [side // checkpoint.patch_size for side in pixels.shape[1:]]
        cases.append({"fit": fit, "photo": list(PHOTOS)[fit == "crop"], "grid": grid})
    if family is families.Clip:
        squash = tensors["pixels.squash"]
        by_token = golden_gradient(exact, squash)
        tensors["activations.squash.layer-1"], tensors["gradients.squash.plain.layer-1"] = by_token
        tensors["hidden.squash"] = golden_hidden(scores, squash)
    about = {"checkpoint": checkpoint.name, "seed": checkpoint.seed, "versions": PINNED,
             "context": checkpoint.context,
             "compared": [PROMPTS[index] for index in (TARGET, *REFERENCES)], "cases": cases, "tokens": tokens,
             "maps": maps}  # fmt: skip
    return tensors, about


def make_all(root):
    """Writes every fixture and every expected value under `root` (laid out as tests/ is)."""
    tiny_checkpoints.write_photos(root / "fixtures/photos")
    photos = {name: Image.open(root / "fixtures/photos" / name).convert("RGB") for name in PHOTOS}
    parity = root / "golden/parity"
    parity.mkdir(parents=True, exist_ok=True)
    clips = tiny_checkpoints.tiny_quick_gelu(), tiny_checkpoints.tiny_gelu()
    for checkpoint in (*clips, tiny_siglips.tiny_siglip(), tiny_siglips.tiny_siglip2()):
        print(checkpoint.name)
        folder = root / "fixtures/models" / checkpoint.name
        checkpoint.write(folder)
        tensors, about = golden_of(checkpoint, folder, photos)
        tensors = {name: tensor.detach().contiguous().clone() for name, tensor in sorted(tensors.items())}
        assert all(torch.isfinite(tensor).all() for tensor in tensors.values())
        save_file(tensors, parity / f"{checkpoint.name}.safetensors")
        write_json(parity / f"{checkpoint.name}.json", about)
        summarise(tensors, about)
    for path in root.rglob("*.safetensors"):
        path.chmod(0o644)


def summarise(tensors, about):
    """Prints what a reader wants to judge the fixtures by."""
    for case in about["cases"]:
        logits = ", ".join(f"{logit:.3f}" for logit in tensors[f"logits.{case['fit']}"].tolist())
        print(f"  {case['fit']}: grid {case['grid']}, logits {logits}")
    for photo in PHOTOS:
        by_torchvision, by_pillow = (tensors[f"preprocess.{photo}.crop.{k}"].short() for k in ("torchvision", "pillow"))
        print(f"  {photo}: torchvision and Pillow differ by at most {(by_torchvision - by_pillow).abs().max()} of 255")


def same_file(made, committed):
    """Tensors may differ by a processor's rounding; all else is the same byte for byte."""
    if not committed.is_file():
        return False
    if made.suffix != ".safetensors":
        return made.read_bytes() == committed.read_bytes()
    new, old = load_file(made), load_file(committed)
    return new.keys() == old.keys() and all(same_tensor(new[name], old[name]) for name in new)


def same_tensor(new, old):
    if new.shape != old.shape or new.dtype != old.dtype:
        return False
    return (new.double() - old.double()).norm() <= 1e-4 * old.double().norm()


def check_against_committed(made):
    """Names every file that is missing from the repository or differs from the one just made."""
    names = [path.relative_to(made) for path in sorted(made.rglob("*")) if path.is_file()]
    wrong = [str(name) for name in names if not same_file(made / name, TESTS / name)]
    if wrong:
        sys.exit("differs from what is committed: " + ", ".join(wrong))
    print(f"all {len(names)} files are as committed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with what is committed, change nothing")
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)  # One thread: sums are then always taken in the same order.
    if not arguments.check:
        return make_all(TESTS)
    with tempfile.TemporaryDirectory() as folder:
        make_all(Path(folder))
        check_against_committed(Path(folder))


if __name__ == "__main__":
    main()
