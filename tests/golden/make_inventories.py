"""Makes the tests' lists of tensors, configurations and token ids: what transformers and open_clip build and split.

Every model is made on torch's meta device, so no weights are made or fetched, and has two blocks in each tower where its
configuration says how many it has. The Rust tests only read what this script writes; they need no Python.

    pip install torch==2.15.0 torchvision==0.29.2 transformers==5.24.0 open-clip-torch==3.3.0 timm==1.0.31 ftfy==6.3.1
    python tests/golden/make_inventories.py

Written: tests/golden/inventories.json and tests/golden/open_clip_tokens.json.
"""

import copy
import importlib.metadata
import json
import sys
from pathlib import Path

PINNED = {
    "torch": "2.15.0",
    "torchvision": "0.29.2",
    "transformers": "5.24.0",
    "open-clip-torch": "3.3.0",
    "timm": "1.0.31",
    "ftfy": "6.3.1",
}
FOUND = {name: importlib.metadata.version(name).split("+")[0] for name in PINNED}
if FOUND != PINNED:
    sys.exit(f"make_inventories.py needs {PINNED}, found {FOUND}")

import open_clip  # noqa: E402
import torch  # noqa: E402
from open_clip.model import CLIP, CustomTextCLIP  # noqa: E402
from open_clip.tokenizer import SimpleTokenizer  # noqa: E402
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel  # noqa: E402

GOLDEN = Path(__file__).resolve().parent
BLOCKS = {"num_hidden_layers": 2}

# The sizes of published models, two blocks deep.
TRANSFORMERS = {
    "clip-base-16": CLIPConfig(
        projection_dim=512, text_config=BLOCKS, vision_config={**BLOCKS, "patch_size": 16}
    ),
    "clip-large-14-336": CLIPConfig(
        projection_dim=768,
        text_config={**BLOCKS, "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
        vision_config={
            **BLOCKS,
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_attention_heads": 16,
            "image_size": 336,
            "patch_size": 14,
        },
    ),
    "clip-huge-14-gelu": CLIPConfig(
        projection_dim=1024,
        text_config={
            **BLOCKS,
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_attention_heads": 16,
            "hidden_act": "gelu",
        },
        vision_config={
            **BLOCKS,
            "hidden_size": 1280,
            "intermediate_size": 5120,
            "num_attention_heads": 16,
            "patch_size": 14,
            "hidden_act": "gelu",
        },
    ),
    "siglip-base-16": SiglipConfig(text_config=BLOCKS, vision_config=BLOCKS),
    "siglip2-base-16-256": SiglipConfig(
        text_config={**BLOCKS, "vocab_size": 256000}, vision_config={**BLOCKS, "image_size": 256}
    ),
}

# open_clip's own models, and those of timm's towers.
OPEN_CLIP = [
    "ViT-B-32",
    "ViT-B-16-quickgelu",
    "ViT-L-14-336",
    "ViT-H-14",
    "ViT-bigG-14",
    "ViT-B-16-SigLIP",
    "ViT-B-16-SigLIP2",
    "ViT-SO400M-14-SigLIP",
]

# A residual network, a convolutional one, two hybrids, a text decoder, and another library's text tower.
REFUSED = ["RN50", "convnext_base", "MobileCLIP-S1", "MobileCLIP2-S0", "coca_ViT-B-32", "roberta-ViT-B-32"]

PROMPTS = {
    "plain": "a photo of a red-winged blackbird's shoulder",
    "upper case": "A PHOTO OF A DOG!!!",
    "composed accents": "un café près de l'église",
    "decomposed accents": "un cafe\u0301 pre\u0300s de l'e\u0301glise",
    "emoji": "a bird 🐦 on a wire 👩‍🔬🏽",
    "too long": "a very long prompt that goes on and on " * 12,
    "white space": "  a \t photo\n\nof   a\u3000bird  ",
    "numbers": "3.14 2,000 1st 24cm 100%",
    "contractions": "it's we're they've i'll don't i'd i'm",
    "other scripts": "一只鸟 в саду طائر 鳥です",
    "punctuation": "wow!!! (really?) -- yes... #tag @home [x] {y} \\ | ~",
    "html": "rock &amp; roll &lt;b&gt; caf&eacute; &#233; &copy",
    "mojibake": "schÃ¶n â€” lâ€™oiseau",
    "ligatures and full width": "ﬁne ＦＵＬＬ ½ ² ΣΊΣΥΦΟΣ",
    "turkish and german": "İstanbul ISPARTA Straße ẞ",
    "invisible": "zero\u200bwidth soft\u00adhyphen nb\u00a0space \x00\x01",
    "special tokens": "hello <|endoftext|> world <|startoftext|> <start_of_text>",
    "75 words": " ".join(["bird"] * 75),
    "76 words": " ".join(["bird"] * 76),
    "private use": "\ue000 \U0010fffd \ufffd",
    "taxonomy": "Animalia Chordata Aves Passeriformes Icteridae Agelaius phoeniceus",
    "underscores": "agelaius_phoeniceus 001.Black_footed_Albatross",
    "quotes": "“curly” ‘single’ «angle» „low“ – dash — long",
}


def shapes(model):
    return {name: list(tensor.shape) for name, tensor in model.state_dict().items()}


def transformers_model(config):
    model = (SiglipModel if isinstance(config, SiglipConfig) else CLIPModel)(config)
    return {"form": "transformers", "config": json.loads(config.to_json_string()), "tensors": shapes(model)}


def open_clip_model(name):
    config = open_clip.get_model_config(name)
    for tower in ("vision_cfg", "text_cfg"):
        if isinstance(config[tower].get("layers"), int):
            config[tower]["layers"] = 2
    arguments = copy.deepcopy(config)
    custom = arguments.pop("custom_text", False)
    model = (CustomTextCLIP if custom else CLIP)(**arguments)
    return {"form": "open_clip", "config": config, "tensors": shapes(model)}


def main():
    with torch.device("meta"):
        models = {name: transformers_model(config) for name, config in TRANSFORMERS.items()}
        models |= {name: open_clip_model(name) for name in OPEN_CLIP}
    refused = {name: open_clip.get_model_config(name) for name in REFUSED}
    write("inventories.json", {"versions": PINNED, "models": models, "refused": refused})
    tokenizer = SimpleTokenizer()
    cases = {}
    for name, text in PROMPTS.items():
        ids = tokenizer(text)[0].tolist()
        cases[name] = {"text": text, "ids": ids[: ids.index(tokenizer.eot_token_id) + 1]}
    write("open_clip_tokens.json", {"versions": PINNED, "cases": cases})


def write(name, value):
    """One line per model or case."""
    lines = []
    for key, part in value.items():
        if key == "versions":
            lines.append(f'"{key}": {json.dumps(part)}')
        else:
            inner = (f"{json.dumps(name)}: {json.dumps(item, separators=(',', ':'))}" for name, item in part.items())
            lines.append(f'"{key}": {{\n' + ",\n".join(inner) + "\n}")
    (GOLDEN / name).write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
