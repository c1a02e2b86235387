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

/** factor · a + other · b, in float64. */
export function combined(factor: number, a: Vector, other: number, b: Vector): Float64Array {
  const out = new Float64Array(a.length);
  for (let place = 0; place < a.length; place += 1) out[place] = factor * a[place]! + other * b[place]!;
  return out;
}

/** Mean, population standard deviation, minimum and maximum of the elements. */
export function statistics(a: Vector): { mean: number; std: number; min: number; max: number } {
  let [sum, min, max] = [0, Infinity, -Infinity];
  for (let place = 0; place < a.length; place += 1) {
    const value = a[place]!;
    sum += value;
    min = value < min ? value : min;
    max = value > max ? value : max;
  }
  const mean = sum / a.length;
  let squares = 0;
  for (let place = 0; place < a.length; place += 1) squares += (a[place]! - mean) * (a[place]! - mean);
  return { mean, std: Math.sqrt(squares / a.length), min, max };
}

const bits = new Float32Array(1);
const pattern = new Uint32Array(bits.buffer);
/** By exponent: 1.5 · 2⁵² units of the last place of half precision. A double that is added to it keeps whole units. */
const SHIFTS = Float64Array.from({ length: 256 }, (_, exponent) => 1.5 * 2 ** 52 * 2 ** Math.max(exponent - 127 - 10, -24));

/** The nearest number of half precision, ties to even, of one that it can hold. */
export function toHalf(value: number): number {
  bits[0] = value;
  const shift = SHIFTS[(pattern[0]! >>> 23) & 255]!;
  return value + shift - shift;
}

/** States as half precision keeps them; as they are where one of them is too large for it. */
export function rounded(states: Float32Array): Float32Array {
  const out = new Float32Array(states.length);
  for (let place = 0; place < states.length; place += 1) {
    const value = states[place]!;
    if (!(Math.abs(value) <= 65504)) return states;
    out[place] = toHalf(value);
  }
  return out;
}
