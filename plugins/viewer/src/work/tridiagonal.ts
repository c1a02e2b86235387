// Eigenvalues of a symmetric matrix with three diagonals, by rotations (QL with implicit shifts, Wilkinson 1968).

/** values: not sorted.  vectors: of each value its vector, of length one.
 *
 *  diagonal: (n).  beside: (n − 1), the numbers next to the diagonal. */
export function tridiagonal(diagonal: readonly number[], beside: readonly number[]): { values: Float64Array; vectors: Float64Array[] } {
  const size = diagonal.length;
  const d = Float64Array.from(diagonal);
  const e = Float64Array.from({ length: size }, (_, place) => beside[place] ?? 0);
  e[size - 1] = 0;
  const vectors = Array.from({ length: size }, (_, place) => {
    const unit = new Float64Array(size);
    unit[place] = 1;
    return unit;
  });
  for (let first = 0; first < size; first += 1) {
    for (let round = 0; round < 60; round += 1) {
      let end = first;
      while (end < size - 1 && Math.abs(e[end]!) > Number.EPSILON * (Math.abs(d[end]!) + Math.abs(d[end + 1]!))) end += 1;
      if (end === first) break;
      rotate(d, e, vectors, first, end);
    }
  }
  return { values: d, vectors };
}

function rotate(d: Float64Array, e: Float64Array, vectors: Float64Array[], first: number, end: number): void {
  const ahead = (d[first + 1]! - d[first]!) / (2 * e[first]!);
  const root = Math.hypot(ahead, 1);
  let g = d[end]! - d[first]! + e[first]! / (ahead + (ahead < 0 ? -root : root));
  let [sine, cosine, shift] = [1, 1, 0];
  for (let place = end - 1; place >= first; place -= 1) {
    const [f, b] = [sine * e[place]!, cosine * e[place]!];
    const length = Math.hypot(f, g);
    e[place + 1] = length;
    if (length === 0) {
      // The matrix has come apart here: go on with what is left of it.
      d[place + 1]! -= shift;
      e[end] = 0;
      return;
    }
    [sine, cosine] = [f / length, g / length];
    const before = d[place + 1]! - shift;
    const turned = (d[place]! - before) * sine + 2 * cosine * b;
    shift = sine * turned;
    d[place + 1] = before + shift;
    g = cosine * turned - b;
    turn(vectors[place]!, vectors[place + 1]!, sine, cosine);
  }
  d[first]! -= shift;
  e[first] = g;
  e[end] = 0;
}

/** vectors[k] are columns: both are combined in each row. */
function turn(a: Float64Array, b: Float64Array, sine: number, cosine: number): void {
  for (let row = 0; row < a.length; row += 1) {
    const f = b[row]!;
    b[row] = sine * a[row]! + cosine * f;
    a[row] = cosine * a[row]! - sine * f;
  }
}
