"""Times pytorch-grad-cam and fieldmark side by side: the same checkpoint, photo and prompts, in one sitting.

    pip install torch transformers grad-cam pillow
    python benches/side_by_side.py MODEL_DIR photo.jpg "red-winged blackbird" "rusty blackbird" --fieldmark target/release/fieldmark

The two take turns, and medians are printed, because machines are noisy and shared. The photo is squashed to the model's
square, so that both see the same pixels up to rounding; how far the maps agree is printed beside the times.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time

import cv2
import numpy
import torch
from PIL import Image
from pytorch_grad_cam import GradCAM
from transformers import AutoTokenizer, CLIPModel

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])


class Logits(torch.nn.Module):
    """The picture's logits for texts that were embedded before, which is what fieldmark explains."""

    def __init__(self, clip, texts):
        super().__init__()
        self.clip, self.texts = clip, texts

    def forward(self, pixels):
        image = self.clip.visual_projection(self.clip.vision_model(pixel_values=pixels).pooler_output)
        image = image / image.norm(dim=-1, keepdim=True)
        return self.clip.logit_scale.exp() * image @ self.texts.T


def embed(clip, folder, prompts):
    tokens = AutoTokenizer.from_pretrained(folder)(prompts, padding=True, return_tensors="pt")
    with torch.no_grad():
        texts = clip.text_projection(clip.text_model(**tokens).pooler_output)
    return texts / texts.norm(dim=-1, keepdim=True)


def reference(folder, photo, prompts):
    """A function that makes a map for every prompt, and one that only asks for the logits."""
    clip = CLIPModel.from_pretrained(folder, attn_implementation="sdpa").eval()
    size = clip.config.vision_config.image_size
    image = Image.open(photo).convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(numpy.array(image)).float() / 255
    pixels = ((pixels - MEAN) / STD).permute(2, 0, 1)[None]
    model = Logits(clip, embed(clip, folder, prompts))
    side = size // clip.config.vision_config.patch_size
    grid = lambda tokens: tokens[:, 1:].reshape(len(tokens), side, side, -1).permute(0, 3, 1, 2)
    cam = GradCAM(model, [clip.vision_model.encoder.layers[-1].layer_norm1], reshape_transform=grid)
    maps = lambda: [cam(pixels, [lambda logits, at=at: logits[at]])[0] for at in range(len(prompts))]

    def logits():
        with torch.no_grad():
            return model(pixels)

    return maps, logits


def ours(arguments, prompts, precision, output):
    """Asks fieldmark for a map of every prompt; its record of the first, and the seconds of the whole command."""
    command = [arguments.fieldmark, "compare", arguments.photo, *prompts, "--model", arguments.model, "--offline"]
    command += ["--fit", "squash", "--method", "grad-cam", "--layer", "-1", "--precision", precision]
    command += ["--save", "map", "--output", output, "--json", "--quiet"]
    if len(prompts) == 1:
        command[1:4] = ["localize", prompts[0], arguments.photo]
    start = time.perf_counter()
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return json.loads(lines[0]), time.perf_counter() - start


def heatmap(signed, shape):
    """What pytorch-grad-cam makes of a map: positive, from 0 to 1, before and after it is enlarged."""
    scaled = lambda values: (values - values.min()) / (1e-7 + (values - values.min()).max())
    return scaled(cv2.resize(scaled(numpy.maximum(signed, 0)), shape[::-1]))


def shown(seconds):
    return f"{statistics.median(seconds) * 1e3:8.1f} ms"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("photo")
    parser.add_argument("prompts", nargs="+")
    parser.add_argument("--fieldmark", default="fieldmark")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--precision", default="f32")
    arguments = parser.parse_args()

    torch.set_num_threads(os.cpu_count())
    maps, logits = reference(arguments.model, arguments.photo, arguments.prompts[:1])
    theirs, forward, tower, command = [], [], [], []
    with tempfile.TemporaryDirectory() as output:
        for _ in range(arguments.rounds):
            for measured, function in ((forward, logits), (theirs, maps)):
                start = time.perf_counter()
                result = function()
                measured.append(time.perf_counter() - start)
            record, seconds = ours(arguments, arguments.prompts[:1], arguments.precision, output)
            tower.append(record["seconds"]["trunk"] + record["seconds"]["head"])
            command.append(seconds)
        several = [ours(arguments, arguments.prompts, arguments.precision, output)[0] for _ in range(3)]
        files = record.get("files", {})
        own = numpy.load(files["map"])
        names = f"{len(arguments.prompts)} prompts"

    print(f"pytorch-grad-cam, forward and backward  {shown(theirs)}   one map")
    print(f"PyTorch, forward alone                  {shown(forward)}")
    print(f"fieldmark, trunk and head               {shown(tower)}   one map, {arguments.precision}")
    print(f"fieldmark, the whole command            {shown(command)}   from start to written map")
    times = [r["seconds"]["trunk"] + r["seconds"]["head"] for r in several]
    print(f"fieldmark, trunk and head               {shown(times)}   {names}")
    ratio = statistics.median(theirs) / statistics.median(tower)
    print(f"one map is {ratio:.2f} times as fast as pytorch-grad-cam's")
    print(f"largest difference of the two heatmaps: {numpy.abs(heatmap(own, result[0].shape) - result[0]).max():.1e}")


if __name__ == "__main__":
    main()
