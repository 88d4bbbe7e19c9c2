"""Stand-ins for the assets of Isaac Lab's stack task, for machines that cannot reach NVIDIA's: same paths, names and layout, no meshes.

The Panda is built from the URDF of the wheel `example-robot-data` (its folder holds the licence): its links, inertias, joints and limits, with three
boxes to grasp with. Nothing of it is kept in the repository. As a script: `python stand_in_assets.py FOLDER`, then `ISAACSIM_ASSET_ROOT=FOLDER`.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
from pxr import Gf, Sdf, Usd, UsdGeom, UsdPhysics, UsdShade

from mimicctl import poses
from mimicctl.envs.mujoco.assets import robots_folder

_CUBE_EDGE, _CUBE_MASS = 0.0406, 0.06
_COLORS = {"blue": (0.11, 0.35, 0.85), "red": (0.85, 0.12, 0.14), "green": (0.10, 0.65, 0.25)}

# Half-size and centre [m] of what touches things, in the link's frame. A fingertip reaches 112 mm from the hand's frame, as the real one does.
_BOXES = {
    "panda_hand": ((0.03, 0.10, 0.033), (0.0, 0.0, 0.033)),
    "panda_leftfinger": ((0.009, 0.008, 0.02), (0.0, 0.008, 0.0336)),
    "panda_rightfinger": ((0.009, 0.008, 0.02), (0.0, -0.008, 0.0336)),
}
_ARM_DRIVE, _FINGER_DRIVE = (400.0, 80.0), (2000.0, 100.0)
"""Stiffness and damping [N m/rad and N m s/rad, N/m and N s/m]; the task sets its own for the arm."""


def make_assets(root: Path) -> None:
    """Write all that the stack task loads below `root`."""
    props, lab = root / "Isaac" / "Props", root / "Isaac" / "IsaacLab"
    _panda(lab / "Robots" / "FrankaEmika" / "franka_panda.usda")
    for name, color in _COLORS.items():
        _cube(props / "Blocks" / f"{name}_block.usd", color)
    _table(props / "Mounts" / "SeattleLabTable" / "table_instanceable.usd")
    _ground(lab / "Environments" / "Grid" / "default_ground_plane_checker_v1" / "default_ground_plane.usda")
    _frame(props / "UIElements" / "frame_prim.usd")


def _stage(path: Path, name: str) -> tuple[Usd.Stage, Usd.Prim]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    root = UsdGeom.Xform.Define(stage, f"/{name}").GetPrim()
    stage.SetDefaultPrim(root)
    return stage, root


def _box(stage: Usd.Stage, path: str, half_size, centre, color=(0.8, 0.8, 0.8)) -> Usd.Prim:
    box = UsdGeom.Cube.Define(stage, path)
    box.CreateSizeAttr(1.0)
    box.CreateExtentAttr([(-0.5, -0.5, -0.5), (0.5, 0.5, 0.5)])
    box.CreateDisplayColorAttr([Gf.Vec3f(*color)])
    UsdGeom.XformCommonAPI(box).SetTranslate(Gf.Vec3d(*map(float, centre)))
    UsdGeom.XformCommonAPI(box).SetScale(Gf.Vec3f(*(2 * float(h) for h in half_size)))
    UsdPhysics.CollisionAPI.Apply(box.GetPrim())
    return box.GetPrim()


def _rough(stage: Usd.Stage, path: str, prims: list[Usd.Prim]) -> None:
    """Friction 1, for all of these."""
    material = UsdShade.Material.Define(stage, path)
    physics = UsdPhysics.MaterialAPI.Apply(material.GetPrim())
    physics.CreateStaticFrictionAttr(1.0)
    physics.CreateDynamicFrictionAttr(1.0)
    for prim in prims:
        UsdShade.MaterialBindingAPI.Apply(prim).Bind(material, UsdShade.Tokens.weakerThanDescendants, "physics")


def _cube(path: Path, color: tuple[float, float, float]) -> None:
    stage, root = _stage(path, "Block")
    UsdPhysics.RigidBodyAPI.Apply(root)
    UsdPhysics.MassAPI.Apply(root).CreateMassAttr(_CUBE_MASS)
    _rough(stage, "/Block/Material", [_box(stage, "/Block/Cube", (_CUBE_EDGE / 2,) * 3, (0, 0, 0), color)])
    stage.Save()


def _table(path: Path) -> None:
    stage, _ = _stage(path, "Table")
    _box(stage, "/Table/Top", (0.6, 0.75, 0.02), (0.0, 0.0, -0.02), (0.6, 0.5, 0.4))
    stage.Save()


def _ground(path: Path) -> None:
    stage, _ = _stage(path, "Root")
    environment = UsdGeom.Xform.Define(stage, "/Root/Environment")
    environment.AddScaleOp().Set(Gf.Vec3f(1.0))
    mesh = UsdGeom.Mesh.Define(stage, "/Root/Environment/Geometry")
    corners = [(-50, -50, 0), (50, -50, 0), (50, 50, 0), (-50, 50, 0)]
    mesh.CreatePointsAttr([Gf.Vec3f(*corner) for corner in corners])
    mesh.CreateFaceVertexCountsAttr([4])
    mesh.CreateFaceVertexIndicesAttr([0, 1, 2, 3])
    mesh.CreateExtentAttr([Gf.Vec3f(-50, -50, 0), Gf.Vec3f(50, 50, 0)])
    UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, "varying").Set([Gf.Vec2f(0, 0), (1, 0), (1, 1), (0, 1)])
    plane = UsdGeom.Plane.Define(stage, "/Root/Plane")
    plane.CreateAxisAttr("Z")
    UsdPhysics.CollisionAPI.Apply(plane.GetPrim())
    stage.Save()


def _frame(path: Path) -> None:
    stage, _ = _stage(path, "Frame")
    UsdGeom.Cube.Define(stage, "/Frame/Box").CreateSizeAttr(0.01)
    stage.Save()


# The robot ------------------------------------------------------------------------------------------------


def _panda(path: Path) -> None:
    urdf = ElementTree.parse(robots_folder() / "panda_description" / "urdf" / "panda.urdf").getroot()
    stage, root = _stage(path, "Panda")
    # OvPhysX lets the base float if the root of the articulation is below the joint that fixes it.
    UsdPhysics.ArticulationRootAPI.Apply(root)
    places = {"panda_link0": np.eye(4)}
    weightless = {link.get("name") for link in urdf.iter("link") if link.get("name") in ("panda_link8", "panda_hand_tcp")}
    joints = [joint for joint in urdf.iter("joint") if joint.find("child").get("link") not in weightless]
    # The hand hangs on link 8, which has no mass: fixed joints are folded into their parent.
    folded: dict[str, tuple[str, np.ndarray]] = {"panda_link8": ("panda_link7", _origin(_joint_to(urdf, "panda_link8")))}
    for joint in joints:
        parent, child = joint.find("parent").get("link"), joint.find("child").get("link")
        above, shift = folded.get(parent, (parent, np.eye(4)))
        places[child] = places[above] @ shift @ _origin(joint)
    for link in urdf.iter("link"):
        if link.get("name") in places:
            _link(stage, link, places[link.get("name")])
    fixed = UsdPhysics.FixedJoint.Define(stage, "/Panda/joints/base")
    fixed.CreateBody1Rel().SetTargets(["/Panda/panda_link0"])
    for joint in joints:
        parent, child = joint.find("parent").get("link"), joint.find("child").get("link")
        above, shift = folded.get(parent, (parent, np.eye(4)))
        _joint(stage, joint, above, child, shift @ _origin(joint))
    _second_finger(stage, root, urdf)
    touching = [stage.GetPrimAtPath(f"/Panda/{name}/box") for name in _BOXES]
    _rough(stage, "/Panda/Material", touching)
    stage.Save()


def _joint_to(urdf: ElementTree.Element, child: str) -> ElementTree.Element:
    return next(joint for joint in urdf.iter("joint") if joint.find("child").get("link") == child)


def _numbers(element: ElementTree.Element | None, key: str, default: str = "0 0 0") -> np.ndarray:
    return np.array([float(part) for part in (element.get(key, default) if element is not None else default).split()])


def _origin(element: ElementTree.Element) -> np.ndarray:
    """(4, 4) of an <origin>: fixed-axis roll, pitch, yaw."""
    origin = element.find("origin")
    roll, pitch, yaw = _numbers(origin, "rpy")
    turns = [poses.matrix_from_rotvec(np.array(axis)) for axis in ((0.0, 0.0, yaw), (0.0, pitch, 0.0), (roll, 0.0, 0.0))]
    return poses.compose(turns[0] @ turns[1] @ turns[2], _numbers(origin, "xyz"))


def _quat(rotation: np.ndarray) -> Gf.Quatf:
    x, y, z, w = (float(value) for value in poses.quat_from_matrix(rotation))
    return Gf.Quatf(w, x, y, z)


def _link(stage: Usd.Stage, link: ElementTree.Element, place: np.ndarray) -> None:
    name = link.get("name")
    body = UsdGeom.Xform.Define(stage, f"/Panda/{name}")
    body.AddTranslateOp().Set(Gf.Vec3d(*(float(value) for value in place[:3, 3])))
    body.AddOrientOp().Set(_quat(place[:3, :3]))
    UsdPhysics.RigidBodyAPI.Apply(body.GetPrim())
    # Newton (1.6) does not read `disable_gravity` of the task's config; this it does.
    body.GetPrim().CreateAttribute("mjc:gravcomp", Sdf.ValueTypeNames.Float).Set(1.0)
    mass = UsdPhysics.MassAPI.Apply(body.GetPrim())
    inertial = link.find("inertial")
    if inertial is None:  # small parts whose inertia the URDF does not say
        mass.CreateMassAttr(0.1)
        mass.CreateDiagonalInertiaAttr(Gf.Vec3f(1e-4))
    else:
        frame, tensor = _origin(inertial), inertial.find("inertia")
        xx, yy, zz, xy, xz, yz = (float(tensor.get(key)) for key in ("ixx", "iyy", "izz", "ixy", "ixz", "iyz"))
        moments, axes = np.linalg.eigh(np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]))
        axes[:, 0] *= np.sign(np.linalg.det(axes))
        mass.CreateMassAttr(float(inertial.find("mass").get("value")))
        mass.CreateCenterOfMassAttr(Gf.Vec3f(*(float(value) for value in frame[:3, 3])))
        mass.CreateDiagonalInertiaAttr(Gf.Vec3f(*(float(value) for value in moments)))
        mass.CreatePrincipalAxesAttr(_quat(frame[:3, :3] @ axes))
    if name in _BOXES:
        _box(stage, f"/Panda/{name}/box", *_BOXES[name])


def _joint(stage: Usd.Stage, joint: ElementTree.Element, parent: str, child: str, place: np.ndarray) -> None:
    name, kind = joint.get("name"), joint.get("type")
    path = f"/Panda/joints/{name}"
    make = {"revolute": UsdPhysics.RevoluteJoint, "prismatic": UsdPhysics.PrismaticJoint, "fixed": UsdPhysics.FixedJoint}[kind]
    made = make.Define(stage, path)
    along_x = _turn_of_x(_numbers(joint.find("axis"), "xyz", "1 0 0"))
    made.CreateBody0Rel().SetTargets([f"/Panda/{parent}"])
    made.CreateBody1Rel().SetTargets([f"/Panda/{child}"])
    made.CreateLocalPos0Attr(Gf.Vec3f(*(float(value) for value in place[:3, 3])))
    made.CreateLocalRot0Attr(_quat(place[:3, :3] @ along_x))
    made.CreateLocalPos1Attr(Gf.Vec3f(0.0))
    made.CreateLocalRot1Attr(_quat(along_x))
    if kind == "fixed":
        return
    limit, unit = joint.find("limit"), 180.0 / np.pi if kind == "revolute" else 1.0
    made.CreateAxisAttr("X")
    made.CreateLowerLimitAttr(unit * float(limit.get("lower")))
    made.CreateUpperLimitAttr(unit * float(limit.get("upper")))
    if joint.find("mimic") is not None:
        return
    drive = UsdPhysics.DriveAPI.Apply(made.GetPrim(), "angular" if kind == "revolute" else "linear")
    stiffness, damping = _ARM_DRIVE if kind == "revolute" else _FINGER_DRIVE
    drive.CreateTypeAttr("force")
    drive.CreateStiffnessAttr(stiffness / unit)
    drive.CreateDampingAttr(damping / unit)
    drive.CreateMaxForceAttr(float(limit.get("effort")))


def _second_finger(stage: Usd.Stage, root: Usd.Prim, urdf: ElementTree.Element) -> None:
    """It goes as the first one goes, by schemas that pxr itself does not know, in the variants that the task asks for by its physics.

    MuJoCo's joint equality is as stiff as the joints are heavy: with the fingers' own 15 g it gives way by millimetres to what is grasped.
    """
    joint = next(joint for joint in urdf.iter("joint") if joint.find("mimic") is not None)
    second, first = (stage.GetPrimAtPath(f"/Panda/joints/{name}") for name in (joint.get("name"), joint.find("mimic").get("joint")))
    physics = root.GetVariantSets().AddVariantSet("Physics")
    for variant in ("mujoco", "physx"):
        physics.AddVariant(variant)
        physics.SetVariantSelection(variant)
        with physics.GetVariantEditContext():
            if variant == "physx":
                second.AddAppliedSchema("PhysxMimicJointAPI:rotX")
                second.CreateRelationship("physxMimicJoint:rotX:referenceJoint").SetTargets([first.GetPath()])
                second.CreateAttribute("physxMimicJoint:rotX:referenceJointAxis", Sdf.ValueTypeNames.Token).Set("rotX")
                second.CreateAttribute("physxMimicJoint:rotX:gearing", Sdf.ValueTypeNames.Float).Set(-1.0)
                second.CreateAttribute("physxMimicJoint:rotX:offset", Sdf.ValueTypeNames.Float).Set(0.0)
                continue
            for finger in (first, second):
                finger.CreateAttribute("mjc:armature", Sdf.ValueTypeNames.Double).Set(0.1)
            second.AddAppliedSchema("NewtonMimicAPI")
            second.AddAppliedSchema("MjcEqualityJointAPI")
            second.CreateRelationship("newton:mimicJoint").SetTargets([first.GetPath()])
            second.CreateAttribute("mjc:solref", Sdf.ValueTypeNames.DoubleArray).Set([0.005, 1.0])
            second.CreateAttribute("mjc:solimp", Sdf.ValueTypeNames.DoubleArray).Set([0.95, 0.99, 0.001, 0.5, 2.0])


def _turn_of_x(axis: np.ndarray) -> np.ndarray:
    """(3, 3) rotation that takes x to `axis`."""
    x = np.array([1.0, 0.0, 0.0])
    cross, cosine = np.cross(x, axis), float(x @ axis)
    if np.allclose(cross, 0):
        return np.eye(3) if cosine > 0 else poses.matrix_from_rotvec(np.array([0.0, 0.0, np.pi]))
    return poses.matrix_from_rotvec(cross / np.linalg.norm(cross) * np.arccos(cosine))


if __name__ == "__main__":
    make_assets(Path(sys.argv[1]))
