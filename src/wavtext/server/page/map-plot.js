// Many points on a canvas: WebGL where there is one, so that 20,000 stay smooth; else 2-D.

const VERTEX = `
attribute vec2 place;
attribute vec4 tint;
uniform vec2 scale, shift;
uniform float size;
varying vec4 colour;
void main() {
  gl_Position = vec4(place * scale + shift, 0.0, 1.0);
  gl_PointSize = size * (0.6 + tint.a * 0.8);
  colour = tint;
}`;
const FRAGMENT = `
precision mediump float;
varying vec4 colour;
void main() {
  float far = length(gl_PointCoord - 0.5);
  float alpha = (1.0 - smoothstep(0.36, 0.5, far)) * colour.a;
  gl_FragColor = vec4(colour.rgb * alpha, alpha);
}`;

/** places: Float32Array of x, y from -1 to 1; setTints: Float32Array of r, g, b, a from 0 to 1. */
export class Plot {
  constructor(canvas, places) {
    this.canvas = canvas;
    this.places = places;
    this.gl = canvas.getContext("webgl", { antialias: false, premultipliedAlpha: true });
    if (this.gl) this.#prepare();
    else this.context = canvas.getContext("2d");
  }

  #prepare() {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.uniforms = Object.fromEntries(["scale", "shift", "size"].map((name) =>
      [name, gl.getUniformLocation(program, name)]));
    this.#attribute(program, "place", 2, this.places);
    this.tintBuffer = this.#attribute(program, "tint", 4, new Float32Array(this.places.length * 2));
  }

  #attribute(program, name, width, values) {
    const { gl } = this;
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    const place = gl.getAttribLocation(program, name);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, width, gl.FLOAT, false, 0, 0);
    return buffer;
  }

  setTints(tints) {
    this.tints = tints;
    if (!this.gl) return;
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.tintBuffer);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, tints, this.gl.STATIC_DRAW);
  }

  /** view: {x, y} at the middle of the canvas, and zoom in CSS pixels a unit. */
  draw({ x, y, zoom }) {
    const { canvas, gl } = this;
    const density = Math.min(devicePixelRatio || 1, 2);
    const { clientWidth: width, clientHeight: height } = canvas;
    const [wide, high] = [Math.round(width * density), Math.round(height * density)];
    if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
    const size = Math.max(3, Math.min(14, zoom / 90)) * density;
    if (!gl) {
      this.#draw2d({ x, y, zoom: zoom * density, size });
      return;
    }
    gl.viewport(0, 0, wide, high);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const [sx, sy] = [(2 * zoom) / width, (-2 * zoom) / height];
    gl.uniform2f(this.uniforms.scale, sx, sy);
    gl.uniform2f(this.uniforms.shift, -x * sx, -y * sy);
    gl.uniform1f(this.uniforms.size, size * 1.5);
    gl.drawArrays(gl.POINTS, 0, this.places.length / 2);
  }

  #draw2d({ x, y, zoom, size }) {
    const { context, canvas, places, tints } = this;
    context.clearRect(0, 0, canvas.width, canvas.height);
    for (let i = 0; i < places.length / 2; i += 1) {
      const [r, g, b, a] = tints.subarray(4 * i, 4 * i + 4);
      context.fillStyle = `rgb(${r * 255} ${g * 255} ${b * 255} / ${a})`;
      context.fillRect((places[2 * i] - x) * zoom + canvas.width / 2 - size / 2,
        (places[2 * i + 1] - y) * zoom + canvas.height / 2 - size / 2, size, size);
    }
  }
}

/** Finds the point nearest to a place, by a grid of cells. */
export class Nearest {
  constructor(places) {
    this.places = places;
    this.side = Math.max(1, Math.min(256, Math.round(Math.sqrt(places.length / 4))));
    this.cells = new Map();
    for (let i = 0; i < places.length / 2; i += 1) {
      const key = this.#key(this.#cell(places[2 * i]), this.#cell(places[2 * i + 1]));
      if (!this.cells.has(key)) this.cells.set(key, []);
      this.cells.get(key).push(i);
    }
  }

  #cell(value) {
    return Math.max(0, Math.min(this.side - 1, Math.floor(((value + 1) / 2) * this.side)));
  }

  #key(column, row) { return row * this.side + column; }

  /** The index of the nearest point within `radius`, or -1. */
  find(x, y, radius) {
    let [best, nearest] = [-1, radius * radius];
    for (let row = this.#cell(y - radius); row <= this.#cell(y + radius); row += 1) {
      for (let column = this.#cell(x - radius); column <= this.#cell(x + radius); column += 1) {
        for (const i of this.cells.get(this.#key(column, row)) ?? []) {
          const distance = (this.places[2 * i] - x) ** 2 + (this.places[2 * i + 1] - y) ** 2;
          if (distance < nearest) [best, nearest] = [i, distance];
        }
      }
    }
    return best;
  }

  /** The nearest point from `from` in a direction (dx, dy), or -1. */
  towards(from, dx, dy) {
    const [x, y] = [this.places[2 * from], this.places[2 * from + 1]];
    let [best, least] = [-1, Infinity];
    for (let i = 0; i < this.places.length / 2; i += 1) {
      const [ax, ay] = [this.places[2 * i] - x, this.places[2 * i + 1] - y];
      const along = ax * dx + ay * dy;
      const across = Math.abs(ax * dy - ay * dx);
      if (i === from || along <= 0 || across > along) continue;
      const cost = along + 2 * across;
      if (cost < least) [best, least] = [i, cost];
    }
    return best;
  }
}
