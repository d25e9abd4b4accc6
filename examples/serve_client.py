"""Asks `fieldmark serve` where a photo shows a concept, with Python's standard library alone.

    fieldmark serve --port 8080 --no-open --model miniature
    python examples/serve_client.py http://127.0.0.1:8080 photo.jpg "red-winged blackbird shoulder" "rusty blackbird"
"""

import json
import sys
import urllib.error
import urllib.parse
import urllib.request


def ask(address, body, kind):
    request = urllib.request.Request(address, data=body, headers={"Content-Type": kind}, method="POST")
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def main(server, path, prompt, *against):
    name = urllib.parse.quote(path.replace("\\", "/").rsplit("/", 1)[-1])
    with open(path, "rb") as file:
        photo = ask(f"{server}/api/v1/photos?name={name}", file.read(), "application/octet-stream")
    question = json.dumps({"prompt": prompt, "against": against}).encode()
    found = ask(f"{server}/api/v1/photos/{photo['id']}/localize", question, "application/json")
    print(f"{found['prompt']}: logit {found['logit']:.2f}, {found['evidence']['verdict']}")
    for region in found["regions"]:
        print(f"  {region['share']:.0%} at {region['x']}, {region['y']}, {region['width']} x {region['height']}")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except urllib.error.HTTPError as error:
        sys.exit(f"{error.code}: {error.read().decode()}")
