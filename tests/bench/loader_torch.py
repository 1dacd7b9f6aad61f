#!/usr/bin/env python3
"""Images per second of our loader and of PyTorch's DataLoader with timm's transforms, on the same JPEG files.

    python3 loader_torch.py DIR --make          # writes DIR: 4 classes of generated photographs, 500 x 375, JPEG
    python3 loader_torch.py DIR --program build/vitrine [--rounds 7]

Both decode, crop at random, resize to 224, mirror, RandAugment (rand-m9-mstd0.5-inc1), normalise, erase (0.25), in one
thread and no worker; they take turns, and the medians of the rates and of their ratios count. Needs torch, timm, Pillow.
"""
import argparse, json, os, statistics, subprocess, time

os.environ["OMP_NUM_THREADS"] = "1"


def make(folder, images=400):
    """Smooth noise of several scales: files of the size of photographs at quality 90."""
    import numpy as np
    from PIL import Image
    random = np.random.default_rng(0)
    for split, count in (("train", images), ("val", 8)):
        for i in range(count):
            picture = np.zeros((375, 500, 3))
            for cells, weight in ((4, 90), (16, 50), (60, 25), (200, 12)):
                small = random.normal(size=(cells * 3 // 4, cells, 3)) * weight
                channels = [Image.fromarray(small[:, :, c].astype("float32")).resize((500, 375), Image.Resampling.BICUBIC) for c in range(3)]
                picture += np.stack([np.asarray(c) for c in channels], axis=2)
            path = f"{folder}/{split}/class{i % 4}"
            os.makedirs(path, exist_ok=True)
            Image.fromarray(np.clip(picture + 128, 0, 255).astype("uint8")).save(f"{path}/{i}.jpg", quality=90)


def torch_rate(folder):
    import torch
    from PIL import ImageOps
    from timm.data import auto_augment, create_transform
    from torchvision.datasets import ImageFolder
    torch.set_num_threads(1)
    # Pillow of today refuses to keep no bits, which timm asks for at magnitude 10: black.
    auto_augment.NAME_TO_OP["PosterizeIncreasing"] = lambda image, bits, **_: ImageOps.posterize(image, bits) if bits else image.point(lambda v: 0)
    transform = create_transform(224, is_training=True, auto_augment="rand-m9-mstd0.5-inc1", interpolation="bicubic", re_prob=0.25,
                                 re_mode="pixel", re_count=1)
    data = ImageFolder(f"{folder}/train", transform)

    def run():
        start = time.perf_counter()
        n = sum(len(y) for _, y in torch.utils.data.DataLoader(data, batch_size=50, shuffle=True, drop_last=True))
        return n / (time.perf_counter() - start)
    return run


def our_rate(folder, program):
    words = [program, "preview", "--rate", "--out", f"{folder}/preview.png", "--data", f"imagefolder:{folder}", "--image-size", "224", "--batch-size", "50", "--flip", "--aa",
             "rand-m9-mstd0.5-inc1", "--reprob", "0.25", "--workers", "0", "--json"]
    return lambda: json.loads(subprocess.run(words, check=True, capture_output=True).stdout)["images_per_s"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--make", action="store_true")
    parser.add_argument("--program", default="build/vitrine")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    if args.make:
        return make(args.folder)
    ours, theirs = our_rate(args.folder, args.program), torch_rate(args.folder)
    pairs = [(ours(), theirs()) for _ in range(args.rounds)]
    for a, b in pairs:
        print(f"ours {a:7.1f}  PyTorch {b:7.1f}  ratio {a / b:.2f}")
    median = [statistics.median(column) for column in (*zip(*pairs), [a / b for a, b in pairs])]
    print(f"median: ours {median[0]:.1f} images/s, PyTorch {median[1]:.1f}, ratio {median[2]:.2f}")


if __name__ == "__main__":
    main()
