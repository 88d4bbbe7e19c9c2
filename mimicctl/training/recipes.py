"""Named training recipes: robomimic configs as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mimicctl.schema import INTENDED_ACTIONS

OBS_KEYS = ("eef_pos", "eef_quat", "gripper_pos", "object")
"""What Isaac Lab's low-dimensional stack config observes."""

CAMERAS = ("table_cam", "wrist_cam")
"""What its image config sees, beside the observations of the robot itself."""


AUTO = "auto"
"""In place of a recipe's name: the one that fits the dataset."""


@dataclass(frozen=True)
class Recipe:
    """How to train one kind of policy.

    Attributes:
        algo: settings of robomimic's `algo` section, dotted key to value.
        obs_keys: low-dimensional observation keys.
        optional_keys: more of them, for datasets that have them; Isaac Lab's don't.
        rgb_keys: keys of camera images.
        encoder: how images are encoded, settings of robomimic's `observation.encoder.rgb` section, dotted key to value.
        crop: share of an image's height and width that is seen, in training a random part of it; 0 for all.
        seq_length: steps of a training sample.
        frame_stack: observations given at once (transformers).
        epochs, steps_per_epoch, batch_size, learning_rate, save_every: as in robomimic; save_every in epochs.
        steps_per_epoch: 0 for as many as one pass over the demos takes.
        final_learning_rate: of a cosine decay over the run; None for a constant rate, or the schedule in a robomimic config.
        labels: "intended_actions" to learn what generation meant to do before it added noise (DART, Laskey et al., 2017), "actions" for what it did.
        normalize_obs: observations to zero mean and unit variance; the statistics go into the checkpoint.
        chunk: actions that the network gives at once, wrists in relation to where they are; see `training.chunks`. 0 for one, as it is in the dataset.
        turn: largest angle [rad] that the scene of a sample is turned by, about the vertical axis through the arm's base; see `training.turning`.
        obs_noise: standard deviation of noise on what is observed in training, after normalisation; new in every batch.
    """

    name: str
    description: str
    epochs: int
    steps_per_epoch: int
    batch_size: int
    learning_rate: float
    save_every: int
    final_learning_rate: float | None = None
    labels: str = "actions"
    normalize_obs: bool = True
    chunk: int = 0
    turn: float = 0.0
    obs_noise: float = 0.0
    obs_keys: tuple[str, ...] = OBS_KEYS
    optional_keys: tuple[str, ...] = ()
    rgb_keys: tuple[str, ...] = ()
    encoder: dict[str, Any] = field(default_factory=dict)
    crop: float = 0.0
    seq_length: int = 1
    frame_stack: int = 1
    algo: dict[str, Any] = field(default_factory=dict)

    def crop_of(self, shapes: Mapping[str, Sequence[int]]) -> tuple[int, int]:
        """Height and width that are seen of images (3, H, W): even numbers, since robomimic's ShallowConv halves an odd size the wrong way."""
        height, width = (2 * round(self.crop * min(shapes[key][axis] for key in self.rgb_keys) / 2) for axis in (1, 2))
        return height, width


_GMM = {"gmm.enabled": True, "gmm.num_modes": 5, "gmm.min_std": 1e-4, "gmm.low_noise_eval": True}
_OWN_BODY = ("eef_pos", "eef_quat", "gripper_pos")
_KEYPOINTS = {
    "core_class": "VisualCore",
    "core_kwargs.pool_class": "SpatialSoftmax",
    "core_kwargs.pool_kwargs": {"num_kp": 32, "learnable_temperature": False, "temperature": 1.0, "noise_std": 0.0},
    "core_kwargs.flatten": True,
    "core_kwargs.feature_dimension": 64,
}
_LSTM = {"rnn.enabled": True, "rnn.horizon": 10, "rnn.hidden_dim": 400, "rnn.num_layers": 2, "actor_layer_dims": []}
_MLP = {
    "actor_layer_dims": [512, 512],
    **_GMM,
    "gmm.min_std": 0.01,
    "optim_params.policy.optimizer_type": "adamw",
    "optim_params.policy.regularization.L2": 0.1,
}

_IN_CHUNKS = {"chunk": 8, "epochs": 6, "batch_size": 256, "save_every": 2}
"""0.4 s at 20 Hz; a sample of eight actions teaches more than one of one."""

_ON_STATES = Recipe(
    "mlp",
    "BC with a Gaussian-mixture head on a 2 x 512 MLP: minutes on a laptop CPU",
    # What the arm does next depends on how fast it moves now, and on which face of the cube is nearest.
    obs_keys=(*OBS_KEYS, "joint_vel"),
    optional_keys=("gripper_to_cube_yaw", "gripper_to_object_yaw"),
    labels=INTENDED_ACTIONS,
    epochs=40,
    steps_per_epoch=1000,
    batch_size=512,
    learning_rate=1e-3,
    final_learning_rate=1e-5,
    save_every=10,
    # A thousand demos are a thousand scenes, which this network learns by heart unless it is kept from it.
    turn=0.5,
    obs_noise=0.03,
    algo=_MLP,
)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        _ON_STATES,
        replace(
            _ON_STATES,
            name="mlp-abs",
            description="the mlp recipe for an arm that is told where to be: minutes on a laptop CPU",
            # Where to be is a centimetre ahead of where the hand is, and would be lost in the range of the whole table.
            **_IN_CHUNKS,
        ),
        replace(
            _ON_STATES,
            name="mlp-dual",
            description="the mlp recipe for two arms: minutes on a laptop CPU",
            obs_keys=("left_eef_pos", "left_eef_quat", "right_eef_pos", "right_eef_quat", "gripper_pos", "object", "joint_vel"),
            optional_keys=(),
            # The arms stand where they stand, and no turn of the scene brings both to their places.
            turn=0.0,
            **_IN_CHUNKS,
        ),
        replace(
            _ON_STATES,
            name="mlp-humanoid",
            description="the mlp recipe for both arms and hands of a humanoid: minutes on a laptop CPU",
            obs_keys=("left_eef_pos", "left_eef_quat", "right_eef_pos", "right_eef_quat", "hand_joint_state", "object", "robot_joint_vel"),
            optional_keys=(),
            # It stands where it stands, as two arms do.
            turn=0.0,
            **_IN_CHUNKS,
        ),
        replace(
            _ON_STATES,
            name="mlp-locomanipulation",
            description="the mlp recipe for a humanoid that goes from place to place: minutes on a laptop CPU",
            obs_keys=(
                *("left_eef_pos", "left_eef_quat", "right_eef_pos", "right_eef_quat", "body_eef_pos", "body_eef_quat"),
                *("hand_joint_state", "robot_joint_vel", "body_velocity", "nearby"),
            ),
            optional_keys=(),
            turn=0.0,
            # What is observed are places in a room of metres, and hands have to be within a centimetre.
            obs_noise=0.005,
            **_IN_CHUNKS,
        ),
        replace(
            _ON_STATES,
            name="mlp-hanging",
            description="the mlp recipe for a gripper that hangs and swings: minutes on a laptop CPU",
            obs_keys=("eef_pos", "eef_quat", "target_pos", "gripper_pos", "swing", "swing_vel", "object", "joint_vel"),
            optional_keys=("gripper_to_object_yaw",),
            turn=0.0,
            # Who drives it waits until it has come to rest, and nothing that is observed says for how long.
            **_IN_CHUNKS,
        ),
        replace(
            _ON_STATES,
            name="mlp-base",
            description="the mlp recipe for a mobile base, from what lies about it: minutes on a laptop CPU",
            # Not its velocity: a policy that sees it stands still because it stands still.
            obs_keys=("object",),
            optional_keys=(),
            # All in the base's own frame: a scene that is turned reads the same.
            turn=0.0,
            **_IN_CHUNKS,
        ),
        Recipe(
            "mlp-plain",
            "a common MimicGen guide's: BC on a 2 x 1024 MLP, learning rate 1e-4, batches of 100; no mixture, nothing turned; eight actions at once",
            epochs=200,
            steps_per_epoch=100,
            batch_size=100,
            learning_rate=1e-4,
            save_every=50,
            # Before the fingers close the hand all but stands still, for a while that nothing tells: the mean over when they close is open, and so they stay. Within
            # the next eight steps they mostly do close, and the slower the hand is, the sooner.
            chunk=8,
            obs_keys=(*OBS_KEYS, "joint_vel"),
            algo={"actor_layer_dims": [1024, 1024]},
        ),
        Recipe(
            "rnn",
            "BC-RNN, 2 x 400 LSTM over 10 steps, no mixture",
            epochs=200,
            steps_per_epoch=100,
            batch_size=100,
            learning_rate=1e-3,
            save_every=20,
            seq_length=10,
            algo=_LSTM,
        ),
        Recipe(
            "rnn-gmm",
            "Isaac Lab's own: BC-RNN-GMM, 2 x 400 LSTM over 10 steps, 200 000 steps (hours on a CPU)",
            epochs=2000,
            steps_per_epoch=100,
            batch_size=100,
            learning_rate=1e-3,
            save_every=100,
            normalize_obs=False,
            seq_length=10,
            algo={**_LSTM, **_GMM},
        ),
        Recipe(
            "transformer",
            "BC-Transformer-GMM over 10 observations",
            epochs=200,
            steps_per_epoch=100,
            batch_size=100,
            learning_rate=1e-4,
            save_every=20,
            frame_stack=10,
            algo={
                "transformer.enabled": True,
                "transformer.context_length": 10,
                "transformer.embed_dim": 128,
                "transformer.num_layers": 3,
                "transformer.num_heads": 4,
                "actor_layer_dims": [],
                **_GMM,
            },
        ),
        Recipe(
            "image-mlp",
            "the mlp recipe from camera images by way of a shallow convolutional network: an hour on one core at 48 x 48 pixels",
            obs_keys=(*_OWN_BODY, "joint_vel"),
            rgb_keys=CAMERAS,
            encoder={**_KEYPOINTS, "core_kwargs.backbone_class": "ShallowConv", "core_kwargs.backbone_kwargs": {}},
            crop=0.905,
            labels=INTENDED_ACTIONS,
            epochs=30,
            steps_per_epoch=1250,
            batch_size=64,
            learning_rate=1e-3,
            final_learning_rate=1e-5,
            save_every=10,
            obs_noise=0.03,
            algo=_MLP,
        ),
        Recipe(
            "image-rnn",
            "Isaac Lab's own for images: BC-RNN-GMM, 2 x 1000 LSTM over 10 steps, a ResNet-18 a camera, 300 000 steps (needs a GPU)",
            obs_keys=_OWN_BODY,
            rgb_keys=CAMERAS,
            encoder={
                **_KEYPOINTS,
                "core_kwargs.backbone_class": "ResNet18Conv",
                "core_kwargs.backbone_kwargs": {"pretrained": False, "input_coord_conv": False},
            },
            crop=0.905,
            epochs=600,
            steps_per_epoch=500,
            batch_size=16,
            learning_rate=1e-4,
            save_every=20,
            normalize_obs=False,
            seq_length=10,
            algo={**_LSTM, "rnn.hidden_dim": 1000, **_GMM},
        ),
    )
}
