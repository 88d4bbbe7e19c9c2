"""How fast batches of images are made, beside robomimic's own loader and a gradient step. CPU time of one thread.

python benchmarks/images.py datasets/seen.hdf5 --recipe image-mlp
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path


def cpu_ms(work: Callable[[], object], times: int) -> float:
    work()
    began = time.process_time()
    for _ in range(times):
        work()
    return 1000 * (time.process_time() - began) / times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--recipe", default="image-mlp")
    parser.add_argument("--demos", type=int, default=20)
    parser.add_argument("--steps", type=int, default=3, help="gradient steps to time; 0 for none")
    asked = parser.parse_args()

    from mimicctl.dataset.reader import Dataset
    from mimicctl.training import robomimic_seam as seam
    from mimicctl.training.cpu_images import hasten
    from mimicctl.training.images import load_images
    from mimicctl.training.loader import GatherLoader, load_frames
    from mimicctl.training.recipes import RECIPES

    seam.import_robomimic()
    import robomimic.utils.obs_utils as obs_utils
    import torch
    from robomimic.utils.dataset import SequenceDataset

    torch.set_num_threads(1)
    recipe = RECIPES[asked.recipe]
    keys = (*recipe.obs_keys, *recipe.rgb_keys)
    config = seam.config_of(recipe, asked.dataset, Path("."), 1)
    with Dataset(asked.dataset) as dataset:
        names = dataset.demos[: asked.demos]
        frames = load_frames(dataset, names, recipe.obs_keys, recipe.labels)
        began = time.process_time()
        frames.images = load_images(dataset, names, recipe.rgb_keys, None)
        count = sum(map(len, frames.images.values()))
        print(f"decoding: {1000 * (time.process_time() - began) / count:.3f} ms an image ({count} of {frames.shapes[recipe.rgb_keys[0]]})")
    ours = GatherLoader(frames, recipe)
    drawn = torch.randint(len(ours), (recipe.batch_size,))
    print(f"batch of {recipe.batch_size} x {recipe.seq_length}: {cpu_ms(lambda: ours.batch(drawn), 10):.1f} ms")
    obs_utils.initialize_obs_utils_with_config(config)
    theirs = SequenceDataset(
        str(asked.dataset), obs_keys=keys, dataset_keys=["actions"], frame_stack=recipe.frame_stack, seq_length=recipe.seq_length,
        load_next_obs=False, hdf5_cache_mode="low_dim", hdf5_use_swmr=False,
    )  # fmt: skip

    def their_batch() -> None:
        items = [theirs[int(i)] for i in drawn]
        for key in recipe.rgb_keys:
            obs_utils.process_obs(torch.stack([torch.from_numpy(item["obs"][key]) for item in items]), obs_key=key)

    print(f"the same by robomimic, images read from the file: {cpu_ms(their_batch, 2):.1f} ms")
    if asked.steps:
        shapes = frames.shapes
        seam.set_crop(config, *recipe.crop_of(shapes))
        algo = seam.make_algo(config, shapes, frames.actions.shape[1], "cpu")
        algo.set_train()
        batch = algo.process_batch_for_training(ours.batch(drawn))
        print(f"gradient step, stock: {cpu_ms(lambda: algo.train_on_batch(batch, 1), asked.steps):.0f} ms")
        number_format = hasten(algo.nets)
        print(f"gradient step, as trained (convolutions in {number_format}): {cpu_ms(lambda: algo.train_on_batch(batch, 1), asked.steps):.0f} ms")


if __name__ == "__main__":
    main()
