// The plane in which states differ most: their first two principal components, exactly and without a matrix of them all.
import { tridiagonal } from "./tridiagonal";

/** Directions that are looked at before what was found is taken. */
const MOST_ROUNDS = 400;
/** What is left of the largest eigenvalue where a direction counts as found. */
const CLOSE = 1e-12;

export interface Plane {
  /** (rows, 2): where each state stands in the plane. */
  readonly points: Float64Array;
  /** The part of all variance along each axis. */
  readonly explained: readonly [number, number];
}

/** The plane of states (rows, size). Of a single state, and of states that are all the same, the points are zero; of the
 *  former the shares are 1 and 0. The largest weight of each axis is positive, so that the same states give the same
 *  points: the numbers are those of `Plane` in emnist_diff_plugins.metrics.trace. */
export function principal(states: Float32Array, rows: number, size: number): Plane {
  const points = new Float64Array(2 * rows);
  if (rows < 2 || size < 1) return { points, explained: [rows === 1 ? 1 : 0, 0] };
  const centred = new Centred(states, rows, size);
  const total = centred.total();
  if (!(total > 0)) return { points, explained: [0, 0] };
  const explained: [number, number] = [0, 0];
  leading(centred, Math.min(rows, size)).forEach(({ value, vector }, axis) => {
    explained[axis] = value / total;
    const weights = rows <= size ? centred.down(vector) : vector;
    const sign = signOfLargest(weights);
    const length = Math.sqrt(value);
    const along = rows <= size ? vector.map((entry) => entry * length) : centred.across(vector);
    for (let row = 0; row < rows; row += 1) points[2 * row + axis] = along[row]! * sign;
  });
  return { points, explained };
}

function signOfLargest(weights: Float64Array): number {
  const largest = weights.reduce((best, weight) => (Math.abs(weight) > Math.abs(best) ? weight : best), 0);
  return Math.sign(largest);
}

/** States less their mean, which is never stored. */
class Centred {
  readonly #mean: Float64Array;

  constructor(
    readonly states: Float32Array,
    readonly rows: number,
    readonly size: number,
  ) {
    this.#mean = new Float64Array(size);
    for (let place = 0, column = 0; place < rows * size; place += 1) {
      this.#mean[column]! += states[place]! / rows;
      column = column + 1 === size ? 0 : column + 1;
    }
  }

  /** The sum of all squares. */
  total(): number {
    let sum = 0;
    for (let place = 0, column = 0; place < this.rows * this.size; place += 1) {
      const value = this.states[place]! - this.#mean[column]!;
      sum += value * value;
      column = column + 1 === this.size ? 0 : column + 1;
    }
    return sum;
  }

  /** Of a weight a number, what each state has of it, (size) → (rows). */
  across(weights: Float64Array): Float64Array {
    const out = new Float64Array(this.rows);
    let middle = 0;
    for (let column = 0; column < this.size; column += 1) middle += this.#mean[column]! * weights[column]!;
    for (let row = 0; row < this.rows; row += 1) {
      let sum = -middle;
      const start = row * this.size;
      for (let column = 0; column < this.size; column += 1) sum += this.states[start + column]! * weights[column]!;
      out[row] = sum;
    }
    return out;
  }

  /** Of a weight a state, their sum, (rows) → (size). */
  down(weights: Float64Array): Float64Array {
    const out = new Float64Array(this.size);
    let all = 0;
    for (let row = 0; row < this.rows; row += 1) {
      const weight = weights[row]!;
      all += weight;
      const start = row * this.size;
      for (let column = 0; column < this.size; column += 1) out[column]! += weight * this.states[start + column]!;
    }
    for (let column = 0; column < this.size; column += 1) out[column]! -= all * this.#mean[column]!;
    return out;
  }

  /** The product with the smaller of the two matrices of inner products. */
  apply(vector: Float64Array): Float64Array {
    return this.rows <= this.size ? this.across(this.down(vector)) : this.down(this.across(vector));
  }
}

interface Direction { readonly value: number; readonly vector: Float64Array }

/** The two largest eigenvalues of inner products and their vectors, after Lanczos, every direction kept orthogonal to all
 *  before. Where directions end, because states span no more, another one is taken at random. */
function leading(centred: Centred, size: number): readonly Direction[] {
  const basis: Float64Array[] = [];
  const [diagonal, beside]: [number[], number[]] = [[], []];
  let direction = orthogonal(random(size, 0), basis).vector;
  for (let round = 0; ; round += 1) {
    basis.push(direction);
    const next = centred.apply(direction);
    diagonal.push(inner(next, direction));
    const rest = orthogonal(next, basis);
    const last = basis.length === Math.min(size, MOST_ROUNDS);
    if (last || round % 6 === 5 || rest.length <= 0) {
      const { values, vectors } = tridiagonal(diagonal, beside);
      const order = [...values.keys()].sort((a, b) => values[b]! - values[a]!).slice(0, 2);
      const largest = values[order[0]!]!;
      const found = order.length === 2 && order.every((each) => rest.length * Math.abs(vectors[each]!.at(-1)!) <= CLOSE * largest);
      // Of states that span few directions the rest is rounding: then others are looked at too.
      if (last || (found && rest.length > 1e-10 * largest)) {
        return order.filter((each) => values[each]! > 1e-20 * largest).map((each) => ({ value: values[each]!, vector: combined(basis, vectors[each]!) }));
      }
    }
    const scale = Math.max(...diagonal.map(Math.abs));
    const ended = rest.length <= 1e-13 * scale;
    beside.push(ended ? 0 : rest.length);
    direction = ended ? orthogonal(random(size, round + 1), basis).vector : rest.vector;
  }
}

function combined(basis: readonly Float64Array[], weights: Float64Array): Float64Array {
  const out = new Float64Array(basis[0]!.length);
  basis.forEach((vector, place) => {
    for (let entry = 0; entry < out.length; entry += 1) out[entry]! += weights[place]! * vector[entry]!;
  });
  const length = Math.sqrt(inner(out, out));
  return out.map((entry) => entry / length);
}

/** What a vector has beside a basis: its length, and it at length one. */
function orthogonal(vector: Float64Array, basis: readonly Float64Array[]): { length: number; vector: Float64Array } {
  const out = Float64Array.from(vector);
  for (let twice = 0; twice < 2; twice += 1) {
    for (const each of basis) {
      const share = inner(out, each);
      for (let entry = 0; entry < out.length; entry += 1) out[entry]! -= share * each[entry]!;
    }
  }
  const length = Math.sqrt(inner(out, out));
  return { length, vector: length > 0 ? out.map((entry) => entry / length) : out };
}

function inner(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let entry = 0; entry < a.length; entry += 1) sum += a[entry]! * b[entry]!;
  return sum;
}

/** Numbers that are the same each time, and in no direction that states prefer. */
function random(size: number, seed: number): Float64Array {
  let state = (seed * 2654435761 + 12345) >>> 0;
  return Float64Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}
