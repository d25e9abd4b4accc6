"""Measures the most memory that commands take beyond what they take for a tiny photo.

    cargo build --release
    python3 benches/memory.py target/release/fieldmark

Python's standard library is all that it needs. Prints a Markdown table; the exit status is 1 if a folder of photos of up
to 40 megapixels takes more than 1 GiB, or one photo more than 16 bytes for each of its pixels and 32 MiB beside them.
"""

import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

FIXTURES = Path(__file__).parent.parent / "tests/fixtures"
MEBIBYTE = 1 << 20
LARGEST_FOLDER = 1024 * MEBIBYTE
SLACK = 32 * MEBIBYTE


def png(path, width, height, depth, color):
    """A flat PNG, written row by row."""
    channels = {0: 1, 2: 3, 6: 4}[color]
    row = b"\0" + b"\x80" * (width * channels * depth // 8)
    packer = zlib.compressobj(1)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def peak(program, arguments):
    """The most memory of one run in bytes, and its exit status."""
    child = subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    scale = 1 if sys.platform == "darwin" else 1024
    return usage.ru_maxrss * scale, os.waitstatus_to_exitcode(status)


def photos(folder):
    """Photos of 40 to 42 megapixels of several kinds, and the folders that the runs use."""
    jpeg = FIXTURES / "hostile/jpeg_7000x6000_flat.jpg"
    kinds = {"jpeg": ("photo.jpg", 42_000_000), "png8": ("photo.png", 40_000_000), "png16": ("alpha.png", 40_000_000)}
    for name in kinds:
        (folder / name).mkdir()
    shutil.copy(jpeg, folder / "jpeg/photo.jpg")
    png(folder / "png8/photo.png", 8000, 5000, 8, 2)
    png(folder / "png16/alpha.png", 8000, 5000, 16, 6)
    mixed = folder / "mixed/class"
    mixed.mkdir(parents=True)
    for number in range(2):
        shutil.copy(folder / "png16/alpha.png", mixed / f"a{number}.png")
        shutil.copy(folder / "png8/photo.png", mixed / f"b{number}.png")
        shutil.copy(jpeg, mixed / f"c{number}.jpg")
    twelve = folder / "twelve/class"
    twelve.mkdir(parents=True)
    png(twelve / "0.png", 4000, 3000, 8, 2)
    for number in range(1, 12):
        shutil.copy(twelve / "0.png", twelve / f"{number}.png")
    return {name: (folder / name / file, pixels) for name, (file, pixels) in kinds.items()}


def questions(folder, count):
    """A data set that asks so many questions about one photo of 40 megapixels."""
    line = '{"image": "png8/photo.png", "prompt": "red square", "against": ["blue circle"], "box": [%d, 0, 3000, 3000]}\n'
    path = folder / "questions.jsonl"
    path.write_text("".join(line % place for place in range(count)))
    return path


def main():
    program = Path(sys.argv[1]).resolve()
    model = ["--model", "miniature"]
    failed = False
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        output = ["--output", str(folder / "out")]
        (folder / "prompts.txt").write_text("red square\nblue circle\n")
        localize = ["localize", "red square", *model, *output]
        batch = ["batch", str(folder / "prompts.txt"), *model, *output]
        measure = ["evaluate", *model, "--json"]
        evaluate = ["evaluate", *model, "--metrics", "sanity", "--json"]
        single = photos(folder)
        tiny = str(FIXTURES / "photos/shapes-96x64.png")
        own, status = peak(program, [*localize, tiny, "--save", "none"])
        assert status == 0, "the program cannot run"
        print(f"The program and the model: {own // MEBIBYTE} MiB.\n")
        print("| run | MiB beyond that | allowed |\n|---|---|---|")

        def report(name, arguments, allowed):
            nonlocal failed
            most, status = peak(program, arguments)
            beyond = most - own
            bad = status != 0 or beyond > allowed
            failed |= bad
            mark = f" (status {status})" if status else ""
            print(f"| {name}{mark} | {beyond / MEBIBYTE:.0f} | {allowed / MEBIBYTE:.0f}{', exceeded' if bad else ''} |", flush=True)

        every = "overlay,heatmap,map,full,mask,instances"
        for name, (photo, pixels) in single.items():
            allowed = 16 * pixels + SLACK
            report(f"localize, {name}", [*localize, str(photo), "--save", every], allowed)
            report(f"localize --refine guided, {name}", [*localize, str(photo), "--save", every, "--refine", "guided"], allowed)
            report(f"report, {name}", ["report", str(photo), "red square", "blue circle", *model, *output], allowed)
        report("evaluate, every metric of localisation, 64 questions", [*measure, str(questions(folder, 64))], LARGEST_FOLDER)
        for width, height in [(1, 60000), (60000, 1), (65535, 600), (600, 65535)]:
            photo = folder / f"{width}x{height}.png"
            png(photo, width, height, 8, 2)
            allowed = 16 * width * height + 3 * SLACK
            name = f"{width} x {height}"
            report(f"localize --bar --refine guided, {name}", [*localize, str(photo), "--save", every, "--bar", "--refine", "guided"], allowed)
            report(f"batch, {name}", [*batch, str(photo)], LARGEST_FOLDER)
        for name in ["mixed", "twelve"]:
            pictures = str(folder / name / "class")
            report(f"localize, {name}", [*localize, pictures], LARGEST_FOLDER)
            report(f"batch, {name}", [*batch, pictures], LARGEST_FOLDER)
            report(f"evaluate, {name}", [*evaluate, str(folder / name)], LARGEST_FOLDER)
    sys.exit(1 if failed else 0)


main()
