#!/usr/bin/env python3
"""Makes the seeds of the targets: fuzz/corpus/<target>/, from the fixtures of the tests.

Standard library only. Targets whose input is formed by `arbitrary` start from nothing, since their inputs mean nothing
outside of them. Seeds of more than 64 kB only make each try slower, and are left out.
"""

import hashlib
import pathlib
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests" / "fixtures"
CORPUS = ROOT / "fuzz" / "corpus"
LARGEST = 64 * 1024

LIST = """# birds
@template a photo of a {}
red-winged blackbird = redwing | Agelaius > bird
crow

sparrow # small
"""
VOC = """<annotation><filename>b.jpg</filename><size><width>4</width><height>3</height><depth>3</depth></size><object>
<name>dog</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>
<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>1</ymax></bndbox></part></object>
</annotation>"""
POINTS = """ImageId,X,Y,Label,EstimatedYesNo,TextLabel
aa,0.5,0.25,/m/dog,yes,Dog
aa,1.0,1.0,/m/dog,no,Dog
bb,0.1,0.9,/m/pet,yes,"Pet, small"
"""
MANIFEST = """{"image": "a.png", "prompt": "dog", "box": [0, 0, 1, 1], "against": ["cat"]}
{"image": "b.png", "prompt": "cat", "present": false, "id": "b", "points": [[1, 1]]}
"""
COCO = """{"images": [{"id": 1, "file_name": "one.jpg", "width": 4, "height": 3},
{"id": 2, "coco_url": "http://a/b/two.jpg"}],
"categories": [{"id": 17, "name": "cat", "supercategory": "animal"}, {"id": 18, "name": "dog"}],
"annotations": [{"id": 5, "image_id": 1, "category_id": 18, "segmentation": [[0, 0, 2, 0, 2, 1, 0, 1]], "bbox": [0, 0, 2, 1]},
{"id": 6, "image_id": 1, "category_id": 17, "segmentation": {"size": [3, 4], "counts": [2, 2, 8]}},
{"id": 7, "image_id": 2, "category_id": 17, "segmentation": {"size": [53, 1], "counts": "321V16"}},
{"id": 8, "image_id": 2, "category_id": 18, "bbox": [3, 2, 1, 1], "area": 1.0, "iscrowd": 0}]}"""
PYTHON = '{"a": NaN, "b": [Infinity, -Infinity, 1e999, -1E999], "c": "NaN, \\"\\u00e9", "d": {"e": null}}'


def files(*patterns):
    """The fixtures that these patterns name, in their order."""
    return [path for pattern in patterns for path in sorted(FIXTURES.glob(pattern)) if path.is_file()]


def contents(*patterns):
    return [path.read_bytes() for path in files(*patterns)]


def programs():
    """The programs in the archives of pickled checkpoints."""
    found = []
    for path in files("**/*.bin"):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                found += [archive.read(name) for name in archive.namelist() if name.endswith("data.pkl")]
    return found


def headers():
    """The headers of files of safetensors, behind the byte that says so."""
    whole = contents("**/*.safetensors")
    return [b"\x01" + data[8 : 8 + int.from_bytes(data[:8], "little")] for data in whole]


def npy(shape, values):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    header = header.ljust(117) + "\n"
    return b"\0\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + b"\0" * 4 * values


def seeds():
    """By target."""
    text = lambda *texts: [text.encode() for text in texts]
    return {
        "photo": contents("photos/**/*", "tiff/*.tif", "tiff/*.dng"),
        "safetensors": headers() + [b"\0" + data for data in contents("**/*.safetensors")],
        "pytorch": contents("**/*.bin"),
        "pickle": programs(),
        "tokenizer": contents("**/tokenizer.json", "hostile/tokenizers/*.json"),
        "config": contents("**/config.json", "**/open_clip*config.json"),
        "preprocessor": contents("**/preprocessor_config.json", "**/processor_config.json", "**/open_clip*config.json"),
        "npy": [npy("(2, 3)", 6), npy("(0, 7)", 0), npy("(3, 3)", 6), b"\x07" + bytes(range(20))],
        "json": text(PYTHON) + contents("**/config.json", "**/tokenizer_config.json"),
        "list": text(LIST) + [path.read_bytes() for path in sorted((ROOT / "prompts").glob("*.txt"))],
        "coco": text(COCO) + contents("reports/coco/*.json"),
        "voc": text(VOC) + contents("reports/**/*.xml"),
        "points": text(POINTS),
        "manifest": text(MANIFEST),
        "journal": [form + data for form in (b"\0", b"\1") for data in contents("runs/*.jsonl")],
        "description": contents("runs/*.json"),
        "rows": contents("runs/*.parquet"),
    }


def main():
    for target, inputs in seeds().items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        small = [data for data in inputs if len(data) <= LARGEST]
        for data in small:
            (folder / f"seed-{hashlib.sha1(data).hexdigest()[:16]}").write_bytes(data)
        print(f"{target}: {len(small)} seeds, {len(inputs) - len(small)} left out", file=sys.stderr)


if __name__ == "__main__":
    main()
