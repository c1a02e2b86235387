"""Make one sample, watch it, and save its picture.

``python examples/quickstart.py A sample.png``
"""

from __future__ import annotations

import sys

from PIL import Image

from emnist_diff import (
    FrameData,
    InferenceConfig,
    build_scheduler,
    generate_sample,
    load_checkpoint,
    load_unet,
)


def report(frame: FrameData) -> None:
    """Say how far a step has moved the state."""
    print(f"step {frame.step_index:3}  timestep {frame.timestep:4.0f}  change {frame.delta_x_l2:7.3f}")


def main(character: str, path: str) -> None:
    """Draw `character` with the shipped checkpoint, in 20 steps."""
    ckpt = load_checkpoint()
    unet = load_unet(ckpt, device="auto")
    scheduler = build_scheduler(ckpt)
    config = InferenceConfig(character=character, total_videos=1, steps=20)
    result = generate_sample(model=unet, scheduler=scheduler, config=config, ckpt_info=ckpt, frame_callback=report)
    Image.fromarray(result.final_image).save(path)
    print(f"{path}: a {result.character} in {result.total_time:.1f} s, {len(result.frames)} frames on the way")


if __name__ == "__main__":
    main(*sys.argv[1:])
