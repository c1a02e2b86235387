// The vector arithmetic of the metrics, in float64. What has no value, such as the angle to a vector of length zero, is NaN.

export type Vector = Float32Array | Float64Array;

/** Σ a b. */
export function dot(a: Vector, b: Vector): number {
  // Four sums of every fourth product: fewer roundings one upon the other than in one sum.
  let place = 0;
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  for (; place + 3 < a.length; place += 4) {
    s0 += a[place]! * b[place]!;
    s1 += a[place + 1]! * b[place + 1]!;
    s2 += a[place + 2]! * b[place + 2]!;
    s3 += a[place + 3]! * b[place + 3]!;
  }
  for (; place < a.length; place += 1) s0 += a[place]! * b[place]!;
  return s0 + s1 + (s2 + s3);
}

/** The L2 norm. */
export function norm(a: Vector): number {
  return Math.sqrt(dot(a, a));
}

/** over / under, NaN where that is zero. */
export function ratio(over: number, under: number): number {
  return under === 0 ? NaN : over / under;
}

/** a·b / (‖a‖ ‖b‖), −1 … 1; NaN where either is zero. */
export function cosine(a: Vector, b: Vector): number {
  return Math.min(1, Math.max(-1, ratio(dot(a, b), norm(a) * norm(b))));
}

/** a − b, in float64. */
export function minus(a: Vector, b: Vector): Float64Array {
  const out = new Float64Array(a.length);
  for (let place = 0; place < a.length; place += 1) out[place] = a[place]! - b[place]!;
  return out;
}

/** Mean, population standard deviation, minimum and maximum of the elements. */
export function statistics(a: Vector): { mean: number; std: number; min: number; max: number } {
  let [sum, min, max] = [0, Infinity, -Infinity];
  for (const value of a) {
    sum += value;
    min = value < min ? value : min;
    max = value > max ? value : max;
  }
  const mean = sum / a.length;
  let squares = 0;
  for (const value of a) squares += (value - mean) * (value - mean);
  return { mean, std: Math.sqrt(squares / a.length), min, max };
}

const bits = new Float32Array(1);
const pattern = new Uint32Array(bits.buffer);

/** The nearest number of half precision, ties to even, of one that it can hold. */
export function toHalf(value: number): number {
  bits[0] = value;
  const exponent = ((pattern[0]! >>> 23) & 255) - 127;
  // Added to 1.5 · 2⁵² units of the last place, a double keeps whole units.
  const shift = 1.5 * 2 ** 52 * 2 ** Math.max(exponent - 10, -24);
  return value + shift - shift;
}

/** States as half precision keeps them; as they are where one of them is too large for it. */
export function rounded(states: Float32Array): Float32Array {
  const fits = states.every((value) => Math.abs(value) <= 65504);
  return fits ? states.map(toHalf) : states;
}
