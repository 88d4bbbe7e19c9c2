"""What the cameras see is where it is, in Isaac Lab's shapes, units and colours."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.dataset.reader import Dataset
from mimicctl.envs import make_env
from mimicctl.envs.mujoco.cameras import SceneRenderer, cameras_of
from mimicctl.envs.mujoco.collada import Part, simplified
from mimicctl.tasks import CameraSpec, find_task
from tests.rendering.conftest import COSMOS

BLUEPRINT = "MuJoCo-Stack-Cube-Franka-IK-Rel-Blueprint-v0"

pytestmark = pytest.mark.render

TABLE, ROBOT, BACKGROUND = (255, 237, 218, 255), (204, 110, 248, 255), (200, 200, 200, 255)
CUBES = {"cube_1": (120, 230, 255, 255), "cube_2": (255, 36, 66, 255), "cube_3": (55, 255, 139, 255)}


@pytest.fixture(scope="module", params=["performance", "balanced"])
def seen(request):
    """A scene with a stack being built (qpos, object poses) and its images."""
    task = find_task(COSMOS)
    env = make_env(task)
    env.reset([0], [np.random.SeedSequence(5)])
    snapshot = env.snapshot()[0]
    renderer = SceneRenderer(task, request.param, task.cameras)
    images = renderer.images(env.reader.qpos(snapshot))
    renderer.close()
    env.close()
    return env.object_poses(snapshot), images


def camera_pose(camera: CameraSpec) -> np.ndarray:
    """(4, 4) of a camera in the env frame, in ROS axes."""
    return poses.pose_from_quat(np.array(camera.position), np.array(camera.quat))


def pixel_of(camera: CameraSpec, point: np.ndarray) -> tuple[int, int]:
    """Row and column at which a point of the env frame appears."""
    x, y, z = (poses.inverse(camera_pose(camera)) @ np.append(point, 1))[:3]
    focal = camera.width * camera.focal_length / camera.horizontal_aperture
    return int(camera.height / 2 + focal * y / z), int(camera.width / 2 + focal * x / z)


def is_colour(segmentation: np.ndarray, rgba: tuple[int, ...]) -> np.ndarray:
    return np.all(segmentation == np.array(rgba, np.uint8), axis=-1)


def test_keys_shapes_and_types_are_isaac_labs(seen):
    _, images = seen
    assert {key: (image.shape, str(image.dtype)) for key, image in images.items()} == {
        "table_cam": ((200, 200, 3), "uint8"),
        "table_cam_segmentation": ((200, 200, 4), "uint8"),
        "table_cam_normals": ((200, 200, 3), "float32"),
        "table_cam_depth": ((200, 200, 1), "float32"),
        "wrist_cam": ((200, 200, 3), "uint8"),
    }


@pytest.mark.parametrize("name", list(CUBES))
def test_a_cube_appears_where_the_cameras_placement_says(seen, name):
    objects, images = seen
    row, column = pixel_of(find_task(COSMOS).cameras[0], poses.position(objects[name]))
    assert is_colour(images["table_cam_segmentation"], CUBES[name])[row, column]
    channel = {"cube_1": 2, "cube_2": 0, "cube_3": 1}[name]
    assert np.argmax(images["table_cam"][row, column]) == channel


def test_segmentation_has_nothing_but_the_classes_of_the_scene(seen):
    segmentation = seen[1]["table_cam_segmentation"]
    found = {tuple(colour) for colour in segmentation.reshape(-1, 4).tolist()}
    assert found == {TABLE, ROBOT, BACKGROUND, *CUBES.values()}


def test_depth_puts_every_pixel_of_the_table_on_the_table(seen):
    _, images = seen
    camera = find_task(COSMOS).cameras[0]
    table = is_colour(images["table_cam_segmentation"], TABLE)
    rows, columns = np.nonzero(table)
    depth = images["table_cam_depth"][rows, columns, 0].astype(float)
    focal = camera.width * camera.focal_length / camera.horizontal_aperture
    rays = np.stack([(columns + 0.5 - camera.width / 2) / focal, (rows + 0.5 - camera.height / 2) / focal, np.ones(len(rows))], axis=-1)
    points = (rays * depth[:, None]) @ camera_pose(camera)[:3, :3].T + np.array(camera.position)
    top = images["table_cam_normals"][rows, columns, 2] > 0.999
    assert top.mean() > 0.95
    np.testing.assert_allclose(points[top, 2], 0.0, atol=2e-4)


def test_depth_is_zero_exactly_where_nothing_is(seen):
    _, images = seen
    nothing = is_colour(images["table_cam_segmentation"], BACKGROUND)
    assert nothing.any()
    assert np.array_equal(images["table_cam_depth"][..., 0] == 0, nothing)


def test_normals_of_flat_shapes_are_exact_and_all_are_of_unit_length(seen):
    objects, images = seen
    normals = 2 * images["table_cam_normals"].astype(float) - 1
    segmentation = images["table_cam_segmentation"]
    for name, colour in CUBES.items():
        axes = np.concatenate([poses.rotation(objects[name]).T, -poses.rotation(objects[name]).T])
        off = np.linalg.norm(normals[is_colour(segmentation, colour)][:, None] - axes, axis=-1).min(axis=1)
        assert off.max() < 1e-6
    robot = is_colour(segmentation, ROBOT)
    np.testing.assert_allclose(np.linalg.norm(normals[robot], axis=-1), 1.0, atol=0.01)
    assert np.array_equal(images["table_cam_normals"][is_colour(segmentation, BACKGROUND)], np.full((is_colour(segmentation, BACKGROUND).sum(), 3), 0.5))


def test_normals_of_the_robot_agree_with_its_depth(seen):
    """The slope between neighbouring pixels lies in the surface, so it is at right angles to the normal."""
    _, images = seen
    camera = find_task(COSMOS).cameras[0]
    robot = is_colour(images["table_cam_segmentation"], ROBOT)
    depth = images["table_cam_depth"][..., 0].astype(float)
    focal = camera.width * camera.focal_length / camera.horizontal_aperture
    column, row = np.meshgrid(np.arange(200) + 0.5 - 100, np.arange(200) + 0.5 - 100)
    points = np.stack([column / focal, row / focal, np.ones_like(row)], axis=-1) * depth[..., None] @ camera_pose(camera)[:3, :3].T
    along = points[:, 1:] - points[:, :-1]
    near = robot[:, 1:] & robot[:, :-1] & (np.linalg.norm(along, axis=-1) < 0.006)
    normals = 2 * images["table_cam_normals"].astype(float) - 1
    between = normals[:, 1:] + normals[:, :-1]
    length = np.linalg.norm(along, axis=-1) * np.linalg.norm(between, axis=-1)
    cosine = np.abs(np.sum(along * between, axis=-1)) / length.clip(1e-9)
    assert near.sum() > 500 and np.median(cosine[near]) < 0.08


def test_the_wrist_camera_sees_fingers_and_what_they_hold(source_file):
    task = find_task(COSMOS)
    wrist = CameraSpec(**{**vars(task.cameras[1]), "modalities": ("rgb", "segmentation")})
    env = make_env(task)
    with Dataset(source_file) as dataset:
        episode = dataset.episode(dataset.demos[0])
    held = int(np.flatnonzero(episode.datagen_info["subtask_term_signals/grasp_1"])[0]) + 5
    renderer = SceneRenderer(task, "performance", [wrist])
    segmentation = renderer.images(env.reader.qpos_of(episode.states)[held])["wrist_cam_segmentation"]
    renderer.close()
    bottom = segmentation[120:]
    assert is_colour(bottom, ROBOT).sum() > 200 and is_colour(bottom, CUBES["cube_2"]).sum() > 300


def test_the_same_scene_gives_the_same_bits_whatever_was_drawn_before():
    task = find_task(COSMOS)
    env = make_env(task)
    env.reset([0], [np.random.SeedSequence(1)])
    first = env.reader.qpos(env.snapshot()[0])
    env.reset([0], [np.random.SeedSequence(2)])
    second = env.reader.qpos(env.snapshot()[0])
    renderer = SceneRenderer(task, "balanced", cameras_of(task, 48))
    other = SceneRenderer(task, "performance", cameras_of(task, 32))
    before = renderer.images(first)
    other.images(first)
    renderer.images(second)
    other.close()
    after = renderer.images(first)
    assert all(np.array_equal(before[key], after[key]) for key in before)
    renderer.close()


def test_simplified_meshes_keep_their_rims_and_lose_triangles():
    x, y = np.meshgrid(np.linspace(0, 1, 21), np.linspace(0, 1, 21))
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(441)], axis=1)
    corner = (np.arange(20)[:, None] * 21 + np.arange(20)).ravel()
    faces = np.concatenate([np.stack([corner, corner + 1, corner + 22], 1), np.stack([corner, corner + 22, corner + 21], 1)])
    part = simplified(Part(vertices, faces, (1, 1, 1, 1)), 0.25)
    assert len(part.faces) < len(faces) / 3
    rim = vertices[(vertices[:, :2] == 0).any(axis=1) | (vertices[:, :2] == 1).any(axis=1)]
    assert all((np.abs(part.vertices - point).max(axis=1) < 1e-9).any() for point in rim)
    corners = part.vertices[part.faces]
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2].sum() / 2
    assert abs(area - 1) < 1e-6


def test_the_blueprint_sees_each_cube_with_both_cameras_in_its_own_colours():
    task = find_task(BLUEPRINT)
    with closing(make_env(task)) as env:
        env.reset([0], [np.random.SeedSequence(5)])
        snapshot = env.snapshot()[0]
        with closing(SceneRenderer(task, "performance", task.cameras)) as renderer:
            images = renderer.images(env.reader.qpos(snapshot))
        objects = env.object_poses(snapshot)
    assert {key: (image.shape, str(image.dtype)) for key, image in images.items()} == {
        f"{camera}_{modality}": ((704, 1280, channels), dtype)
        for camera in ("table_cam", "table_high_cam")
        for modality, channels, dtype in (("normals", 3, "float32"), ("segmentation", 4, "uint8"))
    }
    for camera in task.cameras:
        for name, pose in objects.items():
            row, column = pixel_of(camera, poses.position(pose))
            assert tuple(images[f"{camera.name}_segmentation"][row, column]) == (*task.semantic_colors[name], 255)
