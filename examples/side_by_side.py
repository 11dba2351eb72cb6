"""Put pictures of equal size side by side, labelled, and print their PSNR against the first as JSON.

python side_by_side.py --out both.png first.png "first label" second.png "second label"
"""

import argparse
import json

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SCALE, MARGIN, LABEL_HEIGHT, LABEL_SIZE = 2, 12, 34, 18


def psnr(a, b):
    """In dB, over 8-bit pixels; None for equal pictures, which have no noise to compare with."""
    error = np.mean((np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)) ** 2)
    return None if error == 0 else float(10 * np.log10(255**2 / error))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="PNG to write")
    parser.add_argument("pictures", nargs="+", metavar="PICTURE LABEL", help="file and label, in turn")
    args = parser.parse_args()
    if len(args.pictures) % 2:
        parser.error("expected a label after each picture")
    pictures = [Image.open(path).convert("RGB") for path in args.pictures[::2]]
    width, height = (SCALE * side for side in pictures[0].size)

    sheet = Image.new("RGB", (len(pictures) * (width + MARGIN) + MARGIN, height + LABEL_HEIGHT + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=LABEL_SIZE)
    for index, (picture, label) in enumerate(zip(pictures, args.pictures[1::2])):
        left = MARGIN + index * (width + MARGIN)
        draw.text((left, (LABEL_HEIGHT - LABEL_SIZE) // 2), label, fill="black", font=font)
        sheet.paste(picture.resize((width, height), Image.Resampling.NEAREST), (left, LABEL_HEIGHT))
    sheet.save(args.out)
    print(json.dumps({"psnr": [psnr(pictures[0], picture) for picture in pictures[1:]]}))


if __name__ == "__main__":
    main()
