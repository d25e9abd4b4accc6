"""What transformers computes with weights/miniature, for tests/it/miniature.rs.

    pip install torch==2.9.1 transformers==5.5.4
    python tests/golden/make_miniature.py

The pixels are a formula that the test repeats, so no picture has to be stored or decoded.
"""

import json
import pathlib

import torch
from transformers import CLIPModel, CLIPTokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXTS = [
    "a bird",
    "a red-winged blackbird",
    "red-winged blackbird shoulder",
    "A Photo of a bird with an orange beak",
    "the yellow-headed blackbird's tail feathers",
    "zebra  ünïcode 42!",
]


def pixels():
    side = torch.arange(96, dtype=torch.float64)
    planes = [torch.sin(0.05 * (c + 1) * side[None, :] + 0.07 * side[:, None]) for c in range(3)]
    return torch.stack(planes).float()[None]


def tensor_of(features):
    return features if torch.is_tensor(features) else features.pooler_output


def main():
    torch.set_num_threads(1)
    folder = ROOT / "weights" / "miniature"
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    cases = []
    with torch.no_grad():
        image = tensor_of(model.get_image_features(pixel_values=pixels()))
        image = image / image.norm(dim=-1, keepdim=True)
        for text in TEXTS:
            ids = tokenizer(text, return_tensors="pt").input_ids
            embedding = tensor_of(model.get_text_features(input_ids=ids))
            embedding = embedding / embedding.norm(dim=-1, keepdim=True)
            logit = (model.logit_scale.exp() * image @ embedding.T).item()
            cases.append({"text": text, "ids": ids[0].tolist(), "embedding": rounded(embedding), "logit": logit})
    result = {"image_embedding": rounded(image), "texts": cases}
    path = ROOT / "tests" / "golden" / "miniature.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def rounded(row):
    return [round(value, 7) for value in row[0].tolist()]


if __name__ == "__main__":
    main()
