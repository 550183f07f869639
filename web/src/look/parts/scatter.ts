// A cloud of points on WebGL: one call draws them all, so that a hundred thousand stay fluid. Nothing else is known here.

const VERTEX = `
attribute vec3 place; attribute vec4 colour; uniform mat4 view; uniform float size; varying vec4 shade;
void main() { gl_Position = view * vec4(place, 1.0); gl_PointSize = size * (1.0 - 0.35 * gl_Position.z); shade = colour; }`;
const FRAGMENT = `
precision mediump float; varying vec4 shade;
void main() { vec2 d = gl_PointCoord - 0.5; if (dot(d, d) > 0.25) discard; gl_FragColor = vec4(shade.rgb * shade.a, shade.a); }`;

/** Where someone looks from. 2-D: a shift and a scale; 3-D: two angles besides. */
export type Camera = { x: number; y: number; scale: number; turn: number; tilt: number };
export const START: Camera = { x: 0, y: 0, scale: 0.92, turn: 0.6, tilt: 0.35 };

/** The matrix (column by column) that takes places in [-1, 1] to the screen. */
export function view(camera: Camera, dims: number, aspect: number): Float32Array {
  const [ct, st] = dims === 3 ? [Math.cos(camera.turn), Math.sin(camera.turn)] : [1, 0];
  const [ci, si] = dims === 3 ? [Math.cos(camera.tilt), Math.sin(camera.tilt)] : [1, 0];
  const s = camera.scale * (dims === 3 ? 0.75 : 1);
  const [sx, sy] = aspect > 1 ? [s / aspect, s] : [s, s * aspect];
  const depth = dims === 3 ? 0.55 : 0;
  return new Float32Array([
    sx * ct, sy * si * st, -depth * ci * st, 0,
    0, sy * ci, depth * si, 0,
    sx * st, -sy * si * ct, depth * ci * ct, 0,
    camera.x, camera.y, 0, 1,
  ]);
}

/** A place on the screen, in [-1, 1] both ways. */
export const project = (m: Float32Array, p: Float32Array, k: number): [number, number] => {
  const [x, y, z] = [p[3 * k], p[3 * k + 1], p[3 * k + 2]];
  return [m[0] * x + m[4] * y + m[8] * z + m[12], m[1] * x + m[5] * y + m[9] * z + m[13]];
};

export class Cloud {
  #gl: WebGLRenderingContext;
  #program: WebGLProgram;
  #places: WebGLBuffer;
  #colours: WebGLBuffer;
  #n = 0;

  /** Throws where the browser has no WebGL. */
  constructor(canvas: HTMLCanvasElement) {
    const gl = canvas.getContext("webgl", { antialias: false, premultipliedAlpha: true });
    if (!gl) throw new Error("This browser has no WebGL, which the projector draws with.");
    this.#gl = gl;
    this.#program = gl.createProgram()!;
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]] as const) {
      const shader = gl.createShader(kind)!;
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(this.#program, shader);
    }
    gl.linkProgram(this.#program);
    if (!gl.getProgramParameter(this.#program, gl.LINK_STATUS)) throw new Error("WebGL refused the projector’s program.");
    gl.useProgram(this.#program);
    [this.#places, this.#colours] = [gl.createBuffer()!, gl.createBuffer()!];
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }
  /** places: (n, 3) in [-1, 1]. */
  put(places: Float32Array): void {
    this.#n = places.length / 3;
    this.#fill(this.#places, places, "place", 3, this.#gl.FLOAT, false);
  }
  /** colours: (n, 4), a byte each. */
  paint(colours: Uint8Array): void {
    this.#fill(this.#colours, colours, "colour", 4, this.#gl.UNSIGNED_BYTE, true);
  }
  #fill(buffer: WebGLBuffer, data: Float32Array | Uint8Array, name: string, size: number, type: number, scaled: boolean): void {
    const gl = this.#gl;
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    const at = gl.getAttribLocation(this.#program, name);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, size, type, scaled, 0, 0);
  }
  draw(matrix: Float32Array, size: number): void {
    const gl = this.#gl;
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniformMatrix4fv(gl.getUniformLocation(this.#program, "view"), false, matrix);
    gl.uniform1f(gl.getUniformLocation(this.#program, "size"), size);
    gl.drawArrays(gl.POINTS, 0, this.#n);
  }
  release(): void {
    this.#gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
}

/** Whether a point lies inside a closed line of points. */
export function inside(x: number, y: number, line: [number, number][]): boolean {
  let within = false;
  for (let i = 0, j = line.length - 1; i < line.length; j = i++) {
    const [[xi, yi], [xj, yj]] = [line[i], line[j]];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) within = !within;
  }
  return within;
}
