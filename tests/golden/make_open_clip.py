"""Makes the parity fixtures in open_clip's form: small seeded checkpoints, and what open_clip computes for them.

The reference is open_clip (tokenizer, preprocessing, both towers, timm's towers among them) and pytorch-grad-cam, in
float32 on the processor. The Rust tests only read what this script writes; they need no Python.

    pip install open-clip-torch==3.3.0 timm==1.0.31 ftfy==6.3.1   # and what make_golden.py names
    python tests/golden/make_open_clip.py

Written: tests/fixtures/models/open-clip-*/ and tests/golden/parity/open-clip-*.{safetensors,json}.
"""

import gzip
import importlib.metadata
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

PINNED = {"open-clip-torch": "3.3.0", "timm": "1.0.31", "ftfy": "6.3.1"}
FOUND = {name: importlib.metadata.version(name) for name in PINNED}
if FOUND != PINNED:
    sys.exit(f"make_open_clip.py needs {PINNED}, found {FOUND}")

import numpy as np  # noqa: E402
import open_clip  # noqa: E402
import timm  # noqa: E402
import torch  # noqa: E402
from make_golden import METHODS, MeanContrast, Objective, unit  # noqa: E402
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer  # noqa: E402
from PIL import Image  # noqa: E402
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from timm.models.vision_transformer import VisionTransformer  # noqa: E402
from tiny_checkpoints import END, PHOTOS, START, n_tokens, vocabulary, write_json  # noqa: E402
from transformers import CLIPTokenizer  # noqa: E402

TESTS = Path(__file__).resolve().parent.parent

# Prompt 0 is the target, the next two are its references. The others try the tokenizer and open_clip's cleaning.
PROMPTS = [
    "red-winged blackbird shoulder",
    "yellow-headed blackbird",
    "a photo of a HOUSE sparrow",
    "a red-winged blackbird that sings on a reed above the yellow marsh while a rusty blackbird and a sparrow wait",
    "it's a 24cm_bird!!  “curly” – dash…",
    "rock &amp; roll &lt;b&gt; caf&eacute; &copy",
    "schÃ¶n — lâ€™oiseau",
    "ﬁne ＦＵＬＬ ½ ² ΣΊΣΥΦΟΣ",
    "hello <|endoftext|> world <start_of_text>",
    "zero\u200bwidth soft\u00adhyphen nb\u00a0space \x00\x01",
]
COMPARED = [0, 1, 2]
LAYERS = [-1, -2]


@dataclass
class Checkpoint:
    """One fixture: open_clip's own configuration, and how its weights are saved."""

    name: str
    seed: int
    config: dict
    save: str  # "pickle", "float16", "float32", or "formula" for weights that the test makes itself
    tokenizer_json: bool = False

    @property
    def model_config(self):
        return self.config.get("model_cfg", self.config)


def timm_tiny_siglip(pretrained=False, **kwargs):
    """SigLIP's tower in the smallest of timm's sizes, which timm itself does not have."""
    del pretrained
    arguments = {"img_size": 64, "patch_size": 16, "embed_dim": 192, "depth": 12, "num_heads": 3,
                 "class_token": False, "global_pool": "map", "num_classes": 0}  # fmt: skip
    ignored = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
    return VisionTransformer(**(arguments | {k: v for k, v in kwargs.items() if k not in ignored}))


timm_tiny_siglip.__name__ = "vit_tiny_patch16_siglip_64"
timm_tiny_siglip.__module__ = "timm.models.vision_transformer"
timm.models.register_model(timm_tiny_siglip)


def checkpoints():
    text = {"context_length": 16, "vocab_size": n_tokens(), "width": 24, "heads": 2, "layers": 2}
    return [
        # The model's part alone, as in older repositories: gelu, layer scale, a training checkpoint.
        Checkpoint("open-clip-gelu", 20250811, save="pickle", config={
            "embed_dim": 24,
            "vision_cfg": {"image_size": 64, "layers": 3, "width": 36, "head_width": 12, "patch_size": 8,
                           "mlp_ratio": 2.0, "ls_init_value": 0.5, "patch_dropout": 0.5},
            "text_cfg": {**text, "mlp_ratio": 2.0},
        }),
        # As OpenAI's: quick_gelu, float16; the text tower under `text.`.
        Checkpoint("open-clip-quick-gelu", 20250812, save="float16", tokenizer_json=True, config={
            "model_cfg": {
                "embed_dim": 24, "quick_gelu": True, "custom_text": True,
                "vision_cfg": {"image_size": 84, "layers": 2, "width": 48, "head_width": 24, "patch_size": 14},
                "text_cfg": text,
            },
            "preprocess_cfg": {"mean": [0.5, 0.45, 0.4], "std": [0.25, 0.3, 0.28], "interpolation": "bilinear",
                               "resize_mode": "shortest", "size": 84},
        }),
        # As CLIPA's and SigLIP's: mean before the norm, no norm before the blocks; the text sees its padding.
        Checkpoint("open-clip-mean", 20250813, save="float32", config={
            "model_cfg": {
                "embed_dim": 24, "init_logit_bias": -10, "custom_text": True,
                "vision_cfg": {"image_size": 64, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8,
                               "mlp_ratio": 2.0, "no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True},
                "text_cfg": {**text, "no_causal_mask": True, "pool_type": "last", "proj_bias": True,
                             "act_kwargs": {"approximate": "tanh"}, "norm_kwargs": {"eps": 2e-3}},
            },
            "preprocess_cfg": {"resize_mode": "longest", "fill_color": 90, "interpolation": "random"},
        }),
        # SigLIP as in timm, with transformers' tokenizer inside open_clip's wrapper.
        Checkpoint("open-clip-timm", 20250814, save="formula", tokenizer_json=True, config={
            "model_cfg": {
                "embed_dim": 192, "init_logit_bias": -10, "custom_text": True,
                "vision_cfg": {"image_size": 64, "timm_model_name": "vit_tiny_patch16_siglip_64",
                               "timm_model_pretrained": False, "timm_pool": "map", "timm_proj": "none"},
                "text_cfg": {**text, "hf_tokenizer_name": "tiny", "tokenizer_kwargs": {"clean": "canonicalize"},
                             "no_causal_mask": True, "pool_type": "last", "proj_bias": True,
                             "norm_kwargs": {"eps": 1e-6}},
            },
            "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic",
                               "resize_mode": "squash"},
        }),
    ]  # fmt: skip


# --------------------------------------------------------------------------------------------------------------------
# Weights.


def weight_scale(name, shape):
    """Mean and standard deviation of a weight: attention is not uniform, features differ, gradients are not tiny."""
    last = name.split(".")[-1]
    if "ln_" in name or "norm" in name:
        return (1.0, 0.2) if last == "weight" else (0.0, 0.1)
    if last == "gamma":
        return 0.6, 0.2
    if last in ("bias", "in_proj_bias"):
        return 0.0, 0.1
    if "token_embedding" in name:
        return 0.0, 1.0
    if "pos" in name or "class_embedding" in name or "latent" in name:
        return 0.0, 0.5
    if last in ("proj", "text_projection"):
        return 0.0, shape[0] ** -0.5
    gain = 1.4 if "in_proj" in name or "qkv" in name else 1.0
    return 0.0, gain * float(np.prod(shape[1:])) ** -0.5


def formula(index, shape, mean, std, seed):
    """Numbers that any language can make: a hash of their place, uniform with this mean and standard deviation."""
    place = np.arange(np.prod(shape), dtype=np.uint64) + np.uint64(seed + 1000003 * index)
    hashed = (place * np.uint64(2654435761)) % np.uint64(2**32)
    hashed = ((hashed ^ (hashed >> np.uint64(15))) * np.uint64(2246822519)) % np.uint64(2**32)
    hashed = hashed ^ (hashed >> np.uint64(13))
    uniform = hashed.astype(np.float64) / 2**32 - 0.5
    return torch.from_numpy((mean + std * 12**0.5 * uniform).astype(np.float32).reshape(shape))


def fill(checkpoint, model):
    """Gives every weight its values, in order of name; returns what the formula needs to make them again."""
    table = []
    with torch.no_grad():
        for index, (name, weight) in enumerate(sorted(model.named_parameters())):
            shape = list(weight.shape)
            if name in ("logit_scale", "logit_bias"):
                mean, std = (np.log(20.0), 0.0) if name == "logit_scale" else (-3.0, 0.0)
            else:
                mean, std = weight_scale(name, shape)
            weight.copy_(formula(index, shape, mean, std, checkpoint.seed))
            table.append({"name": name, "shape": shape, "mean": float(mean), "std": float(std)})
    return table


def build(checkpoint):
    """The model, and the table of its weights; those that are saved in half precision are rounded so."""
    settings = dict(checkpoint.model_config)
    custom = settings.pop("custom_text", False)
    model = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**settings).eval()
    table = fill(checkpoint, model)
    if checkpoint.save == "float16":
        model = model.half().float()
    return model, table


def save(checkpoint, model, folder):
    state = {name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()}
    if checkpoint.save == "pickle":
        state = {f"module.{name}": tensor for name, tensor in state.items()}
        # A matrix whose axes were exchanged: PyTorch saves the numbers as they lie.
        state["module.visual.proj"] = state["module.visual.proj"].t().contiguous().t()
        whole = {"epoch": 32, "name": "run", "state_dict": state,
                 "optimizer": {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(2)}},
                               "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.98), "params": [0]}]}}  # fmt: skip
        torch.save(whole, folder / "open_clip_pytorch_model.bin")
    elif checkpoint.save != "formula":
        dtype = torch.float16 if checkpoint.save == "float16" else torch.float32
        state = {name: tensor.to(dtype) for name, tensor in state.items()}
        save_file(state, folder / "open_clip_model.safetensors")
        (folder / "open_clip_model.safetensors").chmod(0o644)


# --------------------------------------------------------------------------------------------------------------------
# Tokenizer.


def write_tokenizer(checkpoint, folder):
    """transformers' files, and open_clip's tokenizer of the same byte pairs."""
    vocab, merges = vocabulary(special_tokens_first=False)
    context = checkpoint.model_config["text_cfg"]["context_length"]
    if checkpoint.tokenizer_json:
        CLIPTokenizer(vocab=vocab, merges=merges)._tokenizer.save(str(folder / "tokenizer.json"))
    else:
        (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
        lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
        (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = checkpoint.model_config["text_cfg"]
    if "hf_tokenizer_name" in text:
        write_json(folder / "tokenizer_config.json", {"tokenizer_class": "CLIPTokenizer", "bos_token": START,
                   "eos_token": END, "unk_token": END, "pad_token": "!"})  # fmt: skip
        return HFTokenizer(str(folder), context_length=context, **text["tokenizer_kwargs"])
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "merges.txt.gz"
        path.write_bytes(gzip.compress("\n".join(["#version", *(f"{a} {b}" for a, b in merges)]).encode()))
        return SimpleTokenizer(bpe_path=str(path), context_length=context)


def golden_text(checkpoint, model, tokenizer):
    ids = tokenizer(PROMPTS)
    with torch.no_grad():
        embeds = unit(model.encode_text(ids))
    rows = []
    for prompt, row in zip(PROMPTS, ids.tolist()):
        if checkpoint.model_config["text_cfg"].get("pool_type") != "last":
            end = row.index(n_tokens() - 1) + 1
            row = row[:end]
        rows.append({"prompt": prompt, "ids": row})
    return rows, embeds


# --------------------------------------------------------------------------------------------------------------------
# Pixels and maps.


def case_pixels(checkpoint, photos):
    """What the model is given: open_clip's own preprocessing of both photos."""
    vision = checkpoint.model_config["vision_cfg"]
    settings = {"size": vision["image_size"], **checkpoint.config.get("preprocess_cfg", {})}
    transform = open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(**settings), is_train=False)
    return {f"crop{index}": transform(photos[name]) for index, name in enumerate(PHOTOS)}


class Scores(torch.nn.Module):
    """Pixels to logits [batch, prompts] for fixed text embeddings."""

    def __init__(self, model, text_embeds):
        super().__init__()
        self.model, self.text_embeds = model, text_embeds

    def forward(self, pixels):
        images = unit(self.model.encode_image(pixels))
        bias = self.model.logit_bias if self.model.logit_bias is not None else 0.0
        return self.model.logit_scale.exp() * images @ self.text_embeds.T + bias


def objectives():
    return {
        "plain": Objective("plain", 0.0, 0, [], ClassifierOutputTarget(0)),
        "mean-0.6": Objective("mean", 0.6, 0, [1, 2], MeanContrast(0.6)),
    }


def norm_of(model, layer):
    """The first norm of a block, and how many tokens go before the patches."""
    if hasattr(model.visual, "trunk"):
        return model.visual.trunk.blocks[layer].norm1, model.visual.trunk.num_prefix_tokens
    return model.visual.transformer.resblocks[layer].ln_1, 1


def raw_map(method, scores, layer, pixels, target):
    """pytorch-grad-cam's own map before ReLU and scaling."""
    norm, prefix = norm_of(scores.model, layer)

    def to_grid(tokens):
        side = int((tokens.shape[1] - prefix) ** 0.5)
        return tokens[:, prefix:].reshape(tokens.shape[0], side, side, -1).permute(0, 3, 1, 2)

    with method(scores, [norm], reshape_transform=to_grid) as cam:
        cam(pixels, [target])
        kept = cam.activations_and_grads
        activations, gradients = kept.activations[0].numpy(), kept.gradients[0].numpy()
        return torch.from_numpy(cam.get_cam_image(pixels, norm, [target], activations, gradients, False)[0].copy())


def golden_of(checkpoint, folder, photos):
    folder.mkdir(parents=True, exist_ok=True)
    name = "open_clip_config.json" if "model_cfg" in checkpoint.config else "open_clip_model_config.json"
    write_json(folder / name, checkpoint.config)
    model, table = build(checkpoint)
    save(checkpoint, model, folder)
    tokens, embeds = golden_text(checkpoint, model, write_tokenizer(checkpoint, folder))
    scores = Scores(model, embeds[COMPARED])
    tensors = {"text_embeds": embeds, "logit_scale": model.logit_scale.exp(),
               "logit_bias": model.logit_bias if model.logit_bias is not None else torch.tensor(0.0)}  # fmt: skip
    maps = []
    for fit, pixels in case_pixels(checkpoint, photos).items():
        batch = pixels[None].contiguous()
        with torch.no_grad():
            image, logits = unit(model.encode_image(batch))[0], scores(batch)[0]
        tensors |= {f"pixels.{fit}": pixels, f"image_embeds.{fit}": image, f"logits.{fit}": logits}
        for layer in LAYERS:
            for objective, target in objectives().items():
                for method, package_class in METHODS.items():
                    key = f"map.{fit}.{method}.{objective}.layer{layer}"
                    tensors[key] = raw_map(package_class, scores, layer, batch, target)
                    maps.append({"tensor": key, "fit": fit, "method": method, "layer": layer, **target.settings()})
        print(f"  {fit}: logits {[round(logit, 3) for logit in logits.tolist()]}")
    about = {"checkpoint": checkpoint.name, "seed": checkpoint.seed, "versions": PINNED,
             "compared": [PROMPTS[index] for index in COMPARED], "tokens": tokens, "maps": maps}  # fmt: skip
    if checkpoint.save == "formula":
        about["weights"] = table
    return tensors, about


def main():
    torch.set_num_threads(1)
    photos = {name: Image.open(TESTS / "fixtures/photos" / name).convert("RGB") for name in PHOTOS}
    for checkpoint in checkpoints():
        print(checkpoint.name)
        tensors, about = golden_of(checkpoint, TESTS / "fixtures/models" / checkpoint.name, photos)
        tensors = {name: tensor.detach().float().contiguous().clone() for name, tensor in sorted(tensors.items())}
        assert all(torch.isfinite(tensor).all() for tensor in tensors.values())
        path = TESTS / "golden/parity" / f"{checkpoint.name}.safetensors"
        save_file(tensors, path)
        path.chmod(0o644)
        write_json(path.with_suffix(".json"), about)


if __name__ == "__main__":
    main()
