"""Prompts: parts that go together, drawn the same way each time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mimicctl.conversion.prompts import bundled_templates, load_templates, make_prompts, read_prompts, write_prompts
from mimicctl.errors import UserError
from mimicctl.tasks import Stack, list_tasks


def template_file(folder: Path, content: object) -> Path:
    path = folder / "templates.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


COHERENT = {
    "env": [{"text": "A kitchen.", "fits": ["home"]}, {"text": "A factory.", "fits": ["works"]}, {"text": "A shed.", "fits": ["home", "works"]}],
    "robot": ["A white arm.", {"text": "An oily arm.", "fits": ["works"]}],
    "light": [{"text": "A cosy lamp.", "fits": ["home"]}, {"text": "Neon tubes.", "fits": ["works"]}],
}


def test_parts_of_a_prompt_share_a_place(tmp_path):
    prompts = set(make_prompts(load_templates(template_file(tmp_path, COHERENT)), 40, 1))
    assert prompts == {
        "A kitchen. A white arm. A cosy lamp.",
        "A factory. A white arm. Neon tubes.",
        "A factory. An oily arm. Neon tubes.",
        "A shed. A white arm. A cosy lamp.",
        "A shed. A white arm. Neon tubes.",
        "A shed. An oily arm. Neon tubes.",
    }


def test_isaac_labs_plain_lists_are_read_in_the_order_of_the_file(tmp_path):
    path = template_file(tmp_path, {"b": ["one", "two"], "note": "not a list", "a": ["three\n  four"], "empty": []})
    assert set(make_prompts(load_templates(path), 10, 0)) == {"one three four", "two three four"}


def test_prompts_depend_on_the_seed_alone_and_the_first_ones_not_on_their_number(tmp_path):
    templates = load_templates(bundled_templates("MuJoCo-Stack-Cube-Franka-IK-Rel-v0"))
    assert make_prompts(templates, 50, 3)[:20] == make_prompts(templates, 20, 3)
    assert make_prompts(templates, 20, 3) != make_prompts(templates, 20, 4)


def test_prompts_differ_as_long_as_there_are_combinations(tmp_path):
    assert len(set(make_prompts(load_templates(bundled_templates("MuJoCo-Stack-Cube-Franka-IK-Rel-v0")), 1000, 1))) == 1000
    assert sorted(make_prompts(load_templates(template_file(tmp_path, {"a": ["x", "y"]})), 3, 1))[:2] != ["x", "x"]


@pytest.mark.parametrize("task", [task for task in list_tasks() if task.prompt_templates], ids=lambda task: task.task_id)
def test_templates_of_the_shipped_tasks_are_sound_and_say_what_must_not_change(task):
    """In each place every section leaves a choice; and no prompt leaves out what the objects look like, and in which order cubes stand."""
    templates = load_templates(bundled_templates(task.task_id))
    places = {place for entries in templates.values() for entry in entries for place in entry.places}
    for name, entries in templates.items():
        for place in places:
            fitting = [entry for entry in entries if not entry.places or place in entry.places]
            assert len(fitting) >= (1 if name in ("env", "cubes", "objects") else 2), (name, place)
    if isinstance(task.goal, Stack):
        assert [task.object(name).label for name in task.goal.order] == ["blue", "red", "green"]
        stays = "blue cube is at the bottom, the red cube in the middle and the green cube on top"
    elif task.is_humanoid:
        stays = "red beaker, a green hexagonal nut, a yellow bowl, a white scale and a blue bin are on the table"
    elif task.robot == "cable_robot":
        stays = "dark blue socks, rolled up, with white at one end, is picked up and dropped into an open round basket with a teal rim"
    else:
        stays = "red bottle of ketchup is put into an open basket of woven wood; a carton of orange juice and a blue and white box of cream cheese"
    robot = "humanoid robot" if task.is_humanoid else "robot gripper" if task.robot == "cable_robot" else "robot arm"
    for prompt in make_prompts(templates, 100, 5):
        assert stays in prompt
        assert robot in prompt and "\n" not in prompt and 80 < len(prompt.split()) < 200


def test_every_shipped_task_with_cameras_has_templates():
    """They name the colours, and so there are none where colours differ from episode to episode."""
    always_alike = [task for task in list_tasks() if task.cameras and not any(item.instances for item in task.objects)]
    assert always_alike and all(task.prompt_templates for task in always_alike)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ([1], "no sections"),
        ({"a": []}, "no sections"),
        ({"a": ["x", 3]}, "no template entry"),
        ({"a": [{"text": "x", "fits": "home"}]}, "no template entry"),
        ({"a": [" "]}, "no template entry"),
        ({"a": [{"text": "x", "fits": ["home"]}, {"text": "y", "fits": ["works"]}], "b": [{"text": "z", "fits": ["home"]}]}, '"b" fits "works"'),
    ],
)
def test_unusable_templates_are_refused_with_the_reason(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        load_templates(template_file(tmp_path, content))


def test_existing_prompts_are_not_replaced_unasked(tmp_path):
    path = write_prompts(["one", "two"], tmp_path / "new" / "p.txt")
    with pytest.raises(UserError, match="--overwrite"):
        write_prompts(["three"], path)
    assert read_prompts(path) == ["one", "two"]
    write_prompts(["three"], path, overwrite=True)
    assert path.read_text() == "three\n" and [p.name for p in path.parent.iterdir()] == ["p.txt"]


@pytest.mark.parametrize(("content", "message"), [(None, "No such file"), (b"\n \n", "no prompts"), (b"\xff\xfe\xff", "not text")])
def test_unreadable_prompts_are_said(tmp_path, content, message):
    if content is not None:
        (tmp_path / "p.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_prompts(tmp_path / "p.txt")


def test_as_it_is_typed(tmp_path, mimicctl):
    done = mimicctl("cosmos", "prompts", "--num_prompts", "3", "--output_path", "p.txt", "--seed", "7", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["prompts"] == read_prompts(tmp_path / "p.txt") and len(read_prompts(tmp_path / "p.txt")) == 3
    again = mimicctl("cosmos", "prompts", "--output_path", "p.txt")
    assert again.returncode == 2 and "--overwrite" in again.stderr
    own = mimicctl("cosmos", "prompts", "--templates_path", str(template_file(tmp_path, {"a": ["x"]})))
    assert own.returncode == 0 and "Next: mimicctl cosmos specs" in own.stdout
    assert (tmp_path / "datasets" / "prompts.txt").read_text() == "x\n" * 10
    missing = mimicctl("cosmos", "prompts", "--templates-path", "no.json", "--overwrite")
    assert missing.returncode == 2 and "no.json" in missing.stderr
