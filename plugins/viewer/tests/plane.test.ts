import { describe, expect, it } from "vitest";
import { principal } from "../src/work/principal";
import { planeOf } from "../src/work/pca";
import { tridiagonal } from "../src/work/tridiagonal";
import { noise } from "./fake";

describe("eigenvalues", () => {
  it("are those of a matrix with three diagonals", () => {
    const [diagonal, beside] = [[4, 1, 3, 2, 5], [1, 0.5, 0, 2]];
    const { values, vectors } = tridiagonal(diagonal, beside);
    values.forEach((value, place) => {
      const v = vectors[place]!;
      diagonal.forEach((entry, row) => {
        const product = entry * v[row]! + (row ? beside[row - 1]! * v[row - 1]! : 0) + (row < 4 ? beside[row]! * v[row + 1]! : 0);
        expect(product).toBeCloseTo(value * v[row]!, 12);
      });
    });
  });
});

describe("the plane", () => {
  it.each([[40, 12], [12, 40], [3, 500]])("of %i states of %i numbers has the most variance that a plane can", (rows, size) => {
    const states = noise(rows * size);
    for (let row = 0; row < rows; row += 1) states[row * size] = states[row * size]! * 9 + 3;
    const { points, explained } = principal(states, rows, size);
    const along = [0, 1].map((axis) => points.reduce((sum, value, place) => sum + (place % 2 === axis ? value * value : 0), 0));
    const both = points.reduce((sum, _, place) => sum + (place % 2 ? 0 : points[place]! * points[place + 1]!), 0);
    expect(Math.abs(both)).toBeLessThan(1e-9 * along[0]!);
    expect(along[0]).toBeGreaterThan(along[1]!);
    expect(explained[0] / explained[1]).toBeCloseTo(along[0]! / along[1]!, 9);
    expect(explained[0] + explained[1]).toBeLessThanOrEqual(1 + 1e-12);
  });

  it("of states on a line, of equal states and of one has no second axis", () => {
    const line = Float32Array.from({ length: 5 * 4 }, (_, place) => Math.floor(place / 4) * ((place % 4) + 1));
    const { points, explained } = principal(line, 5, 4);
    expect(explained[0]).toBeCloseTo(1, 12);
    expect(explained[1]).toBeLessThan(1e-15);
    expect(points[0]).toBeCloseTo(-2 * Math.sqrt(30), 9);
    expect([...principal(new Float32Array(12).fill(3), 3, 4).explained]).toEqual([0, 0]);
    expect([...principal(noise(4), 1, 4).explained]).toEqual([1, 0]);
  });

  it("finds two axes that are equally long", () => {
    const square = Float32Array.from([1, 0, 0, -1, 0, 0, 0, 1, 0, 0, -1, 0]);
    expect([...principal(square, 4, 3).explained].map((share) => Math.round(share * 1e9))).toEqual([5e8, 5e8]);
  });

  it("has paths of samples where no worker is, at one size a step", async () => {
    const paths = [noise(6 * 10, 2), noise(6 * 10, 3)].map((path) => path.map((value, place) => value * 10 ** (2 - Math.floor(place / 10))));
    const { points, explained, every } = await planeOf(paths, 10);
    expect(points.map((each) => each.length)).toEqual([12, 12]);
    expect(every).toBe(1);
    const raw = await planeOf(paths, 10, "states");
    expect(raw.explained[0]).toBeGreaterThan(explained[0]);
  });
});
