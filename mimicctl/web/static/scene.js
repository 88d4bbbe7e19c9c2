// A task's scene in three.js: shapes loaded once, bodies put where a frame of the server says.

import {
  BoxGeometry, BufferAttribute, BufferGeometry, CapsuleGeometry, Color, CylinderGeometry, DirectionalLight, DoubleSide, Group, HemisphereLight,
  Mesh, MeshLambertMaterial, OrbitControls, PCFShadowMap, PerspectiveCamera, PlaneGeometry, Scene, SphereGeometry, WebGLRenderer,
} from "./vendor/three.min.js";

const NUMBERS_A_BODY = 7;

// What is given up, one after the other, on a machine that draws too slowly: [shadows, most pixels a point].
const EFFORTS = [[true, 2], [false, 1], [false, 0.6]];
const SLOW_MS = 45;
const JUDGED_AFTER = 12;

// From where to where, in metres.
const TABLE_VIEWS = {
  side: [[1.25, -0.8, 0.75], [0.42, 0, 0.12]],
  behind: [[-0.35, -0.5, 0.85], [0.5, 0, 0.05]],
  front: [[1.5, 0, 0.6], [0.4, 0, 0.15]],
  top: [[0.45, 0, 1.5], [0.5, 0, 0]],
};
const CABLE_VIEWS = {
  side: [[2.25, -0.55, 1.25], [0.42, 0, 0.42]],
  behind: [[-0.9, -0.55, 1.35], [0.5, 0, 0.15]],
  front: [[2.2, 0, 1.0], [0.4, 0, 0.4]],
  top: [[0.45, 0, 2.4], [0.5, 0, 0]],
};
const FLOOR_VIEWS = {
  side: [[0.2, -4.6, 3.2], [1.1, 0, 0.2]],
  behind: [[-3.2, 0, 2.6], [1.4, 0, 0]],
  front: [[5.4, 0, 2.6], [1, 0, 0.3]],
  top: [[1.2, 0, 7], [1.25, 0, 0]],
};

/** Draws into `host`, an element with a size of its own. Axes are the robot's: x ahead, y left, z up; `world` holds everything in them. */
export class SceneView {
  constructor(host) {
    this.host = host;
    const software = drawnBySoftware();
    this.renderer = new WebGLRenderer({ antialias: !software });
    this.renderer.shadowMap.type = PCFShadowMap;
    this.effort = software ? EFFORTS.length - 1 : 0;
    this.slow = { frames: 0, ms: 0 };
    this.waiting = [];
    host.append(this.renderer.domElement);
    this.scene = new Scene();
    this.scene.background = new Color(matchMedia("(prefers-color-scheme: dark)").matches ? 0x24282d : 0xdfe3e6);
    // What stands in the room: in VR it is turned and moved to where the operator stands.
    this.stage = new Group();
    this.world = new Group();
    this.stage.add(this.world);
    this.scene.add(this.stage);
    this.camera = new PerspectiveCamera(45, 1, 0.02, 30);
    this.camera.up.set(0, 0, 1);
    this.controls = new OrbitControls(this.camera, this.renderer.domElement);
    this.controls.addEventListener("change", () => this.draw());
    this.bodies = [];
    this.cables = [];
    this.#light();
    this.#spend();
    new ResizeObserver(() => this.#fit()).observe(host);
    this.#fit();
  }

  /** The scene's description (an ArrayBuffer of the server), instead of what was there. */
  load(buffer) {
    this.world.clear();
    const length = new DataView(buffer).getUint32(0, true);
    const text = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    const vertices = new Float32Array(buffer, 4 + length, 3 * text.vertices);
    const faces = new Uint32Array(buffer, 4 + length + 12 * text.vertices);
    const meshes = text.meshes.map((mesh) => meshGeometry(mesh, vertices, faces));
    this.floor = text.floor;
    this.#aimLamp(text.floor ? [1.2, 3.2] : [0.45, 0.9]);
    this.bodies = text.bodies.map(() => this.world.add(new Group()).children.at(-1));
    this.names = text.bodies;
    for (const geom of text.geoms) this.bodies[geom.body].add(shapeOf(geom, meshes));
    this.cables = text.cables.map((cable) => ({ ...cable, shape: this.world.add(cableShape(cable)).children.at(-1) }));
    this.lookFrom("side");
  }

  /** Put every body where the frame (B * 7 numbers: position, xyzw quaternion) has it, and draw. The promise is kept when it can be seen. */
  show(frame) {
    this.bodies.forEach((body, i) => {
      const at = i * NUMBERS_A_BODY;
      body.position.set(frame[at], frame[at + 1], frame[at + 2]);
      body.quaternion.set(frame[at + 3], frame[at + 4], frame[at + 5], frame[at + 6]);
    });
    for (const cable of this.cables) this.#stretch(cable);
    return this.draw();
  }

  /** Put a cable between its ends. */
  #stretch({ ends, shape }) {
    const [from, to] = ends.map(({ body, pos }) => {
      const { position, quaternion } = this.bodies[body];
      return position.clone().set(...pos).applyQuaternion(quaternion).add(position);
    });
    shape.scale.z = from.distanceTo(to);
    shape.position.addVectors(from, to).multiplyScalar(0.5);
    shape.quaternion.setFromUnitVectors(from.clone().set(0, 0, 1), to.sub(from).normalize());
  }

  /** "side", "behind" (over the robot's shoulder, looking ahead), "front" or "top". */
  lookFrom(place) {
    const [eye, target] = (this.cables.length ? CABLE_VIEWS : this.floor ? FLOOR_VIEWS : TABLE_VIEWS)[place];
    this.camera.position.set(...eye);
    this.controls.target.set(...target);
    this.controls.update();
    this.draw();
  }

  /** Once for however many calls until the browser is ready to. In VR the session's own loop draws. */
  draw() {
    if (this.renderer.xr.isPresenting) return Promise.resolve();
    return new Promise((drawn) => {
      this.waiting.push(drawn);
      if (this.waiting.length > 1) return;
      // A page that is not looked at gets no animation frames, and still has to say what it knows.
      if (document.hidden) setTimeout(() => this.#drawn(), 100);
      else requestAnimationFrame(() => this.#drawn());
    });
  }

  #drawn() {
    if (!document.hidden) {
      this.renderer.render(this.scene, this.camera);
      this.#judge();
    }
    for (const drawn of this.waiting.splice(0)) drawn();
  }

  /** Where drawing itself takes long, spend less on it. What takes the time is not known until the next frame, so that is what is measured. */
  #judge() {
    if (this.effort === EFFORTS.length - 1) return;
    const started = performance.now();
    const slow = this.slow;
    requestAnimationFrame(() => {
      slow.frames++;
      slow.ms += performance.now() - started;
      if (slow.frames < JUDGED_AFTER) return;
      if (slow.ms / slow.frames > SLOW_MS) {
        this.effort++;
        this.#spend();
      }
      Object.assign(slow, { frames: 0, ms: 0 });
    });
  }

  #spend() {
    const [shadows, ratio] = EFFORTS[this.effort];
    this.renderer.shadowMap.enabled = shadows;
    this.lamp.castShadow = shadows;
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, ratio));
    this.#fit();
  }

  #light() {
    const sky = new HemisphereLight(0xffffff, 0x9a958c, 1.9);
    sky.position.set(0, 0, 1);
    const lamp = new DirectionalLight(0xffffff, 1.6);
    lamp.castShadow = true;
    Object.assign(lamp.shadow.camera, { near: 0.3, far: 12 });
    lamp.shadow.mapSize.set(1024, 1024);
    lamp.shadow.bias = -0.0006;
    lamp.shadow.normalBias = 0.004;
    this.stage.add(sky, lamp, lamp.target);
    this.lamp = lamp;
  }

  /** So that its shadows reach `far` [m] around x = `middle`. */
  #aimLamp([middle, far]) {
    this.lamp.position.set(middle + 0.5 * far, -0.7 * far, 2 * far);
    this.lamp.target.position.set(middle, 0, 0);
    Object.assign(this.lamp.shadow.camera, { left: -far, right: far, top: far, bottom: -far });
    this.lamp.shadow.camera.updateProjectionMatrix();
  }

  #fit() {
    const { clientWidth: width, clientHeight: height } = this.host;
    if (!width || !height || this.renderer.xr.isPresenting) return;
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
    this.renderer.setSize(width, height, false);
    this.draw();
  }
}

/** Whether there is no GPU behind WebGL, so that every pixel costs. */
function drawnBySoftware() {
  const probe = document.createElement("canvas").getContext("webgl2");
  const named = probe?.getExtension("WEBGL_debug_renderer_info");
  const name = named ? probe.getParameter(named.UNMASKED_RENDERER_WEBGL) : "";
  probe?.getExtension("WEBGL_lose_context")?.loseContext();
  return /swiftshader|llvmpipe|software|basic render/i.test(name);
}

function meshGeometry(mesh, vertices, faces) {
  // A vertex of its own for every corner: edges of a machine are sharp, and smoothing across them looks like melted plastic.
  const corners = faces.subarray(3 * mesh.face, 3 * (mesh.face + mesh.faces));
  const positions = new Float32Array(3 * corners.length);
  corners.forEach((corner, i) => positions.set(vertices.subarray(3 * (mesh.vertex + corner), 3 * (mesh.vertex + corner) + 3), 3 * i));
  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new BufferAttribute(positions, 3));
  geometry.setAttribute("normal", new BufferAttribute(creasedNormals(positions), 3));
  return geometry;
}

/** Normals of a triangle soup: those of neighbours at a corner are averaged where they differ by less than 35 degrees. */
function creasedNormals(positions) {
  const corners = positions.length / 3;
  const flat = new Float32Array(positions.length);
  for (let i = 0; i < corners; i += 3) {
    const [ax, ay, az, bx, by, bz, cx, cy, cz] = positions.subarray(3 * i, 3 * i + 9);
    const [ux, uy, uz, vx, vy, vz] = [bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az];
    const normal = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
    for (let k = 0; k < 3; k++) flat.set(normal, 3 * (i + k));
  }
  const meeting = new Map();
  for (let i = 0; i < corners; i++) {
    const key = `${Math.round(positions[3 * i] * 1e5)},${Math.round(positions[3 * i + 1] * 1e5)},${Math.round(positions[3 * i + 2] * 1e5)}`;
    if (!meeting.has(key)) meeting.set(key, []);
    meeting.get(key).push(i);
  }
  const least = Math.cos((35 * Math.PI) / 180);
  const normals = new Float32Array(positions.length);
  for (const group of meeting.values()) {
    for (const i of group) {
      const [nx, ny, nz] = flat.subarray(3 * i, 3 * i + 3);
      const own = Math.hypot(nx, ny, nz);
      let [x, y, z] = [0, 0, 0];
      for (const j of group) {
        // Not scaled to one: the larger a triangle, the more its direction counts.
        const [mx, my, mz] = flat.subarray(3 * j, 3 * j + 3);
        if (nx * mx + ny * my + nz * mz >= least * own * Math.hypot(mx, my, mz)) [x, y, z] = [x + mx, y + my, z + mz];
      }
      const size = Math.hypot(x, y, z) || 1;
      normals.set([x / size, y / size, z / size], 3 * i);
    }
  }
  return normals;
}

/** A square rod as long as a metre, along z. */
function cableShape({ radius, rgba: [red, green, blue] }) {
  return new Mesh(new BoxGeometry(2 * radius, 2 * radius, 1), new MeshLambertMaterial({ color: new Color().setRGB(red, green, blue, "srgb") }));
}

function shapeOf(geom, meshes) {
  const [a, b, c] = geom.size;
  const [red, green, blue, alpha] = geom.rgba;
  const floor = geom.kind === "plane";
  const material = new MeshLambertMaterial({
    color: new Color().setRGB(red, green, blue, "srgb"), transparent: alpha < 1, opacity: alpha, side: geom.kind === "mesh" ? DoubleSide : 0,
  });
  const geometry = {
    plane: () => new PlaneGeometry(2 * (a || 5), 2 * (b || 5)),
    sphere: () => new SphereGeometry(a, 24, 16),
    ellipsoid: () => new SphereGeometry(1, 24, 16).scale(a, b, c),
    // three.js's stand along y, MuJoCo's along z.
    capsule: () => new CapsuleGeometry(a, 2 * b, 8, 20).rotateX(Math.PI / 2),
    cylinder: () => new CylinderGeometry(a, a, 2 * b, 28).rotateX(Math.PI / 2),
    box: () => new BoxGeometry(2 * a, 2 * b, 2 * c),
    mesh: () => meshes[geom.mesh],
  }[geom.kind]();
  const shape = new Mesh(geometry, material);
  shape.name = geom.name;
  shape.position.set(...geom.pos);
  shape.quaternion.set(...geom.quat);
  shape.castShadow = !floor && alpha === 1;
  shape.receiveShadow = true;
  return shape;
}
