"""Makes the small seeded CLIP checkpoints, their tokenizers and the pictures that the parity tests read.

Nothing here is learned: weights are random, but scaled so that attention is not uniform, features differ and
gradients are not tiny. make_golden.py runs this; there is nothing to run here.
"""

import json
import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

import families


@dataclass
class Checkpoint:
    """What one fixture checkpoint is made of."""

    name: str
    seed: int
    logit_scale: float  # as multiplied, not its logarithm
    config: CLIPConfig
    preprocessor: dict
    special_tokens_first: bool
    tokenizer_json: bool
    wide_grid: tuple  # rows, columns of the case that is not square
    half_precision_shards: bool
    family: type = families.Clip

    def write(self, folder):
        write_checkpoint(self, folder)

    @property
    def image_size(self):
        return self.config.vision_config.image_size

    @property
    def patch_size(self):
        return self.config.vision_config.patch_size

    @property
    def context(self):
        return self.config.text_config.max_position_embeddings


# --------------------------------------------------------------------------------------------------------------------
# Tokenizer: CLIP's byte-level BPE with a few merges learned from a handful of words.

CORPUS = {
    "blackbird": 40, "red": 20, "winged": 20, "yellow": 16, "headed": 16, "rusty": 16, "house": 14, "sparrow": 14,
    "shoulder": 14, "bird": 12, "photo": 12, "a": 10, "the": 10, "of": 8, "on": 6, "sings": 4, "reed": 4, "marsh": 4,
    "above": 3, "while": 3, "wait": 3, "that": 3, "and": 6, "in": 4, "it": 4, "middle": 2,
}  # fmt: skip
N_MERGES = 110
START, END = "<|startoftext|>", "<|endoftext|>"


def byte_characters():
    """The printable character that stands for each byte, in the order that CLIP's and GPT-2's vocabularies have."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]


def learn_merges(words):
    """The most frequent neighbouring pairs of words, merged one after the other; ties go to the smaller pair."""
    merges = []
    while len(merges) < N_MERGES:
        counts = {}
        for symbols, count in words.items():
            for pair in zip(symbols, symbols[1:]):
                counts[pair] = counts.get(pair, 0) + count
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        words = {merge_pair(symbols, best): count for symbols, count in words.items()}
    return merges


def merge_pair(symbols, pair):
    merged, index = [], 0
    while index < len(symbols):
        if symbols[index : index + 2] == pair:
            merged.append(pair[0] + pair[1])
            index += 2
        else:
            merged.append(symbols[index])
            index += 1
    return tuple(merged)


def vocabulary(special_tokens_first):
    """Token to id, and the merges. CLIP has the special tokens last; first makes the end token's id the smallest."""
    merges = learn_merges({tuple(word[:-1]) + (word[-1] + "</w>",): count for word, count in CORPUS.items()})
    characters = byte_characters()
    tokens = characters + [character + "</w>" for character in characters] + [a + b for a, b in merges]
    special = [START, END]
    tokens = special + tokens if special_tokens_first else tokens + special
    assert len(set(tokens)) == len(tokens)
    return {token: index for index, token in enumerate(tokens)}, merges


def write_tokenizer(checkpoint, folder):
    """Writes either tokenizer.json alone or vocab.json and merges.txt alone."""
    vocab, merges = vocabulary(checkpoint.special_tokens_first)
    assert len(vocab) == checkpoint.config.text_config.vocab_size
    if checkpoint.tokenizer_json:
        CLIPTokenizer(vocab=vocab, merges=merges)._tokenizer.save(str(folder / "tokenizer.json"))
    else:
        (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
        lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
        (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": checkpoint.context, "bos_token": START,
                "eos_token": END, "unk_token": END, "pad_token": END}  # fmt: skip
    write_json(folder / "tokenizer_config.json", settings)


# --------------------------------------------------------------------------------------------------------------------
# Checkpoints.


def n_tokens():
    return len(vocabulary(False)[0])


def tiny_quick_gelu():
    """Like OpenAI's: quick_gelu, legacy end token 2 (the largest id is taken), old preprocessor, float32, one file."""
    text = CLIPTextConfig(
        vocab_size=n_tokens(), hidden_size=32, intermediate_size=56, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=16, hidden_act="quick_gelu", layer_norm_eps=1e-5, projection_dim=24,
        bos_token_id=0, pad_token_id=1, eos_token_id=2,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=48, intermediate_size=80, num_hidden_layers=4, num_attention_heads=4, image_size=64, patch_size=8,
        hidden_act="quick_gelu", layer_norm_eps=1e-5, projection_dim=24,
    )  # fmt: skip
    preprocessor = {
        "crop_size": 64, "do_center_crop": True, "do_normalize": True, "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "size": 64,
    }  # fmt: skip
    return Checkpoint(
        name="tiny-quick-gelu", seed=20250801, logit_scale=100.0, preprocessor=preprocessor,
        config=CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=24),
        special_tokens_first=False, tokenizer_json=False, wide_grid=(6, 10), half_precision_shards=False,
    )  # fmt: skip


def tiny_gelu():
    """Another of everything: gelu, patch 14, explicit end token with a small id, its own mean and std, shards.

    The epsilons are large, and differ, so that a wrong one shows. The wide grid has as many patches as the trained
    square: position embeddings must be interpolated although their count fits.
    """
    text = CLIPTextConfig(
        vocab_size=n_tokens(), hidden_size=40, intermediate_size=72, num_hidden_layers=3, num_attention_heads=5,
        max_position_embeddings=20, hidden_act="gelu", layer_norm_eps=2e-3, projection_dim=28,
        bos_token_id=0, pad_token_id=1, eos_token_id=1,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=2, image_size=84, patch_size=14,
        hidden_act="gelu", layer_norm_eps=1e-3, projection_dim=28,
    )  # fmt: skip
    preprocessor = {
        "crop_size": {"height": 84, "width": 84}, "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True,
        "do_rescale": True, "do_resize": True, "image_mean": [0.5, 0.45, 0.4], "image_processor_type":
        "CLIPImageProcessor", "image_std": [0.25, 0.3, 0.28], "resample": 3, "rescale_factor": 1 / 255,
        "size": {"shortest_edge": 96},
    }  # fmt: skip
    return Checkpoint(
        name="tiny-gelu", seed=20250802, logit_scale=14.5, preprocessor=preprocessor,
        config=CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=28),
        special_tokens_first=True, tokenizer_json=True, wide_grid=(4, 9), half_precision_shards=True,
    )  # fmt: skip


def weight_scale(name, shape):
    """Mean and standard deviation of a weight: attention is not uniform, features differ, gradients are not tiny."""
    if "norm" in name or "layrnorm" in name:
        return (1.0, 0.2) if name.endswith("weight") else (0.0, 0.1)
    if name.endswith("bias"):
        return 0.0, 0.1
    if "probe" in name:
        return 0.0, 1.0
    if "token_embedding" in name:
        return 0.0, 1.0
    if "position_embedding" in name or "class_embedding" in name:
        return 0.0, 0.5
    if "patch_embedding" in name:
        return 0.0, math.prod(shape[1:]) ** -0.5
    fan_in = shape[1]
    if "q_proj" in name or "k_proj" in name:
        return 0.0, 1.4 * fan_in**-0.5
    return 0.0, fan_in**-0.5


def random_model(checkpoint):
    """The checkpoint's model, every weight drawn from its own seeded generator in order of name."""
    model = checkpoint.family.model(checkpoint.config).eval()
    generator = torch.Generator().manual_seed(checkpoint.seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            if name == "logit_scale":
                weight.fill_(math.log(checkpoint.logit_scale))
            elif name == "logit_bias":
                weight.fill_(checkpoint.logit_bias)
            else:
                mean, std = weight_scale(name, weight.shape)
                weight.copy_(mean + std * torch.randn(weight.shape, generator=generator))
    return model


def write_checkpoint(checkpoint, folder):
    folder.mkdir(parents=True, exist_ok=True)
    model = random_model(checkpoint)
    if checkpoint.half_precision_shards:
        # Vision in float16, text in bfloat16, the scale in float32: a loader must take each tensor's own type.
        model.vision_model.half(), model.visual_projection.half()
        model.text_model.bfloat16(), model.text_projection.bfloat16()
        model.save_pretrained(folder, max_shard_size="120KB")
    else:
        model.save_pretrained(folder)
        add_position_ids(checkpoint, folder / "model.safetensors")
    write_json(folder / "preprocessor_config.json", checkpoint.preprocessor)
    write_tokenizer(checkpoint, folder)


def add_position_ids(checkpoint, path):
    """Adds the integer buffers that checkpoints of transformers before 4.31 contain; they must be passed over."""
    tensors = load_file(path)
    patches = (checkpoint.image_size // checkpoint.patch_size) ** 2
    tensors["text_model.embeddings.position_ids"] = torch.arange(checkpoint.context)[None]
    tensors["vision_model.embeddings.position_ids"] = torch.arange(patches + 1)[None]
    save_file(tensors, path, {"format": "pt"})


# --------------------------------------------------------------------------------------------------------------------
# Pictures.

PHOTOS = {"shapes-96x64.png": (96, 64, 11), "shapes-50x83.png": (50, 83, 12)}


def draw_photo(width, height, seed):
    """A gradient with soft discs and a little noise: something to see at every patch, and edges to resize."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    picture = np.stack([60 + 90 * x / width, 80 + 70 * y / height, 120 - 60 * x / width], axis=-1)
    for _ in range(6):
        centre_x, centre_y = random.uniform(0, width), random.uniform(0, height)
        radius = random.uniform(5, 16)
        colour = random.uniform(0, 255, 3)
        cover = 1 / (1 + np.exp(np.hypot(x - centre_x, y - centre_y) - radius))
        picture += cover[..., None] * (colour - picture)
    picture += random.integers(-4, 5, picture.shape)
    return Image.fromarray(np.clip(np.round(picture), 0, 255).astype(np.uint8))


def write_photos(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, (width, height, seed) in PHOTOS.items():
        draw_photo(width, height, seed).save(folder / name, optimize=True)


def write_json(path, value):
    """JSON with one line for each item of the lists at the top level, so that changes can be read."""
    lines = []
    for key, item in value.items():
        if isinstance(item, list) and item and isinstance(item[0], dict):
            rows = ",\n".join("    " + json.dumps(row, ensure_ascii=False) for row in item)
            lines.append(f"  {json.dumps(key)}: [\n{rows}\n  ]")
        else:
            lines.append(f"  {json.dumps(key)}: {json.dumps(item, ensure_ascii=False)}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
