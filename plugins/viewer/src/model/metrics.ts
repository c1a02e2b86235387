// Curves of a sample over its kept steps: document 002's under its names, and the columns of `emnist-diff metrics` under
// theirs. Float64 inside; what has no value is NaN where a file has null. The same formulas as emnist_diff_plugins.metrics.
import type { Metric, Run, Term } from "./api";
import { displacement, epsilon, rates } from "./levels";
import { FORCE_METRICS, wordsOf } from "./metricwords";
import { divergence, firstCondition, meanEntropy, tokenActivation } from "./tokens";
import { combined, cosine, dot, minus, norm, ratio, rounded, statistics, type Vector } from "./vectors";

type Curves = Map<string, Float64Array>;

/** The metrics that a file has fields for, in order: those of the overview first.
 *
 *  condition: of which attention is; left out, the samples' own. */
export async function metricsOf(run: Run, position: number, condition?: string): Promise<readonly Metric[]> {
  const curves: Curves = new Map();
  const paths = run.samples[position]?.row === undefined ? undefined : await pathsOf(run, position);
  if (paths !== undefined) overview(run, paths, curves);
  await ofAttention(run, position, condition, curves);
  if (paths !== undefined) {
    const moves = displacements(paths, run.kept.length);
    await ofStates(run, position, paths, moves, curves);
    ofPredictions(paths, run.kept.length, curves);
    for (const term of run.terms) if (term.kind === "force" && term.field) ofForce(run, term, paths, moves, curves);
    ofDrifts(run, paths, curves);
  }
  ofLevels(run, curves);
  const terms = new Map(run.terms.map((term) => [term.key, term.name]));
  const numbers = { state: (await run.pictures()) === "pictures" ? "pixels" : "latents", prediction: run.predictionType } as const;
  return [...curves].map(([name, values]) => ({ name, values, ...wordsOf(name, terms, numbers) }));
}

/** Fields of a sample, as functions of the column. */
class Paths {
  readonly #fields = new Map<string, { path: Float32Array; width: number }>();

  add(field: string, path: Float32Array, columns: number): void {
    this.#fields.set(field, { path, width: path.length / columns });
  }

  has(...fields: readonly string[]): boolean {
    return fields.every((field) => this.#fields.has(field));
  }

  at(field: string, column: number): Float32Array {
    const { path, width } = this.#fields.get(field)!;
    return path.subarray(column * width, (column + 1) * width);
  }
}

async function pathsOf(run: Run, position: number): Promise<Paths> {
  const paths = new Paths();
  const columns = run.kept.length;
  const found = await Promise.all(run.fields.map((field) => run.path(field, position)));
  run.fields.forEach((field, place) => paths.add(field, found[place]!, field === "x" ? columns + 1 : columns));
  return paths;
}

/** A curve over `count` columns. */
function curve(count: number, value: (column: number) => number): Float64Array {
  return Float64Array.from({ length: count }, (_, column) => value(column));
}

/** What each kept step changes of the state, (K); undefined where states are not recorded. */
function displacements(paths: Paths, count: number): readonly Float64Array[] | undefined {
  if (!paths.has("x")) return undefined;
  return Array.from({ length: count }, (_, column) => minus(paths.at("x", column + 1), paths.at("x", column)));
}

function overview(run: Run, paths: Paths, curves: Curves): void {
  const count = run.kept.length;
  const of = paths.has("prediction") ? "prediction" : run.terms.some((term) => term.kind === "force") ? "" : "base";
  if (!paths.has("x")) return;
  curves.set("latent_l2_norm", curve(count, (column) => norm(paths.at("x", column + 1))));
  if (paths.has(of)) {
    curves.set("predicted_noise_l2_norm", curve(count, (column) => {
      const level = rates(run.schedule.alphaBar[run.kept[column]!]!, run.forwardProcess);
      return norm(epsilon(paths.at(of, column), paths.at("x", column), level, run.predictionType));
    }));
  }
  curves.set("cosine_similarity_to_previous", cosinesToPrevious(paths, count));
  const moves = displacements(paths, count)!;
  curves.set("cosine_of_updates", curve(count, (column) => (column ? cosine(moves[column - 1]!, moves[column]!) : NaN)));
}

function cosinesToPrevious(paths: Paths, count: number): Float64Array {
  // All states are rounded or none: one that half precision cannot hold leaves the others as they are.
  const states = Array.from({ length: count }, (_, column) => paths.at("x", column + 1));
  const halves = states.map(rounded);
  const used = halves.some((half, column) => half === states[column]) ? states : halves;
  return curve(count, (column) => {
    const [before, after] = [used[column - 1], used[column]!];
    return before === undefined ? NaN : dot(before, after) / (norm(before) * norm(after) + 1e-8);
  });
}

async function ofAttention(run: Run, position: number, condition: string | undefined, curves: Curves): Promise<void> {
  const attention = run.attention;
  const name = condition ?? (attention && firstCondition(attention));
  if (attention === undefined || name === undefined || !attention.positions.includes(position)) return;
  const spread = (values: Float64Array): Float64Array => {
    const out = new Float64Array(run.kept.length).fill(NaN);
    attention.columns.forEach((column, place) => (out[column] = values[place]!));
    return out;
  };
  const tokens = await tokenActivation(run, position, name);
  if (tokens !== undefined) {
    curves.set("attention_kl_divergence", spread(divergence(tokens.values, tokens.count)));
    if (tokens.tokens.some((token) => token.special)) {
      curves.set("masked_attention_kl_divergence", spread(divergence(tokens.masked, tokens.count)));
    }
  }
  for (const kind of ["cross", "self"] as const) {
    const found = await meanEntropy(attention, kind, position, name);
    if (found !== undefined) curves.set(`${kind}_attention_entropy`, spread(found));
  }
  for (const [path, share] of tokens?.textShare ?? []) curves.set(`text_share ${path}`, spread(share));
}

async function ofStates(run: Run, position: number, paths: Paths, moves: readonly Float64Array[] | undefined, curves: Curves): Promise<void> {
  const count = run.kept.length;
  if (moves !== undefined) {
    curves.set("delta_x_l2", curve(count, (column) => norm(moves[column]!)));
    const all = moves.map(statistics);
    for (const what of ["mean", "std", "min", "max"] as const) curves.set(`delta_x_${what}`, curve(count, (column) => all[column]![what]));
    const pixels = await pixelsOf(run, position, paths);
    if (pixels !== undefined) curves.set("delta_pixel_l2", curve(count, (column) => norm(minus(pixels[column + 1]!, pixels[column]!))));
    curves.set("x_l2", curve(count, (column) => norm(paths.at("x", column))));
    curves.set("delta_x_cos", curves.get("cosine_of_updates")!);
  }
  if (!paths.has("x0")) return;
  curves.set("x0_l2", curve(count, (column) => norm(paths.at("x0", column))));
  curves.set("x0_change_l2", curve(count, (column) => (column ? norm(minus(paths.at("x0", column), paths.at("x0", column - 1))) : NaN)));
  if (moves === undefined) return;
  curves.set("noise_l2", curve(count, (column) => {
    const [signal, noise] = rates(run.schedule.alphaBar[run.kept[column]!]!, run.forwardProcess);
    return ratio(norm(combined(1, paths.at("x", column), -signal, paths.at("x0", column))), noise);
  }));
}

/** What the states of the kept steps look like, 0 … 255, the finished image last; undefined where states are latents. */
async function pixelsOf(run: Run, position: number, paths: Paths): Promise<readonly Float32Array[] | undefined> {
  const image = await run.image(position);
  if (image === undefined || (await run.pictures()) !== "pictures") return undefined;
  const last = paths.at("x", run.kept.length).map((_, place) => {
    const places = image.width * image.height;
    return image.rgba[4 * (place % places) + Math.floor(place / places)]!;
  });
  return [...run.kept.map((_, column) => paths.at("x", column).map(levelOf)), last];
}

/** The grey level of a state's value, in single precision as Python computes it, ties to even. */
function levelOf(value: number): number {
  const share = Math.min(1, Math.max(0, Math.fround(Math.fround(value + 1) / 2)));
  const level = Math.fround(share * 255);
  const below = Math.floor(level);
  return level - below === 0.5 ? below + (below % 2) : Math.round(level);
}

function ofPredictions(paths: Paths, count: number, curves: Curves): void {
  for (const field of ["prediction", "base"]) {
    if (paths.has(field)) curves.set(`${field}_l2`, curve(count, (column) => norm(paths.at(field, column))));
  }
  if (paths.has("prediction", "base")) curves.set("base_share", curve(count, (column) => share(paths.at("base", column), paths.at("prediction", column))));
}

/** a·b / ‖b‖². */
function share(a: Vector, b: Vector): number {
  return ratio(dot(a, b), dot(b, b));
}

function ofForce(run: Run, term: Term, paths: Paths, moves: readonly Float64Array[] | undefined, curves: Curves): void {
  const count = run.kept.length;
  const force = (column: number): Vector => paths.at(term.field!, column);
  const sizes = curve(count, (column) => norm(force(column)));
  const factors = curve(count, (column) => {
    const step = run.kept[column]!;
    const end = run.kept[column + 1] ?? run.schedule.steps;
    // Of several steps together nothing is known.
    return end === step + 1 ? displacement(run.schedule.alphaBar[step]!, run.alphaBarNext[step]!, run) : NaN;
  });
  const along = moves && curve(count, (column) => dot(force(column), moves[column]!));
  const values: Record<string, ((column: number) => number) | false | undefined> = {
    l2: (column) => sizes[column]!,
    cos_base: paths.has("base") && ((column) => cosine(force(column), paths.at("base", column))),
    share: paths.has("prediction") && ((column) => share(force(column), paths.at("prediction", column))),
    displacement_l2: (column) => Math.abs(factors[column]!) * sizes[column]!,
    displacement_share: along && ((column) => ratio(factors[column]! * along[column]!, dot(moves[column]!, moves[column]!))),
    pull: along && ((column) => ratio(Math.sign(factors[column]!) * along[column]!, sizes[column]!)),
  };
  for (const what of FORCE_METRICS) {
    const value = values[what];
    if (value) curves.set(`force_${term.key}_${what}`, curve(count, value));
  }
}

function ofDrifts(run: Run, paths: Paths, curves: Curves): void {
  const count = run.kept.length;
  const drifts = run.terms.filter((term) => term.kind === "drift");
  const recorded = drifts.filter((term) => term.field !== undefined);
  if (recorded.length && recorded.length === drifts.length) {
    curves.set("drift_l2", curve(count, (column) => {
      const total = Float64Array.from(paths.at(recorded[0]!.field!, column));
      return norm(recorded.slice(1).reduce<Float64Array>((sum, term) => combined(1, sum, 1, paths.at(term.field!, column)), total));
    }));
  }
  for (const term of recorded) curves.set(`drift_${term.key}_l2`, curve(count, (column) => norm(paths.at(term.field!, column))));
}

function ofLevels(run: Run, curves: Curves): void {
  const of = (value: (alphaBar: number, next: number) => number): Float64Array =>
    curve(run.kept.length, (column) => value(run.schedule.alphaBar[run.kept[column]!]!, run.alphaBarNext[run.kept[column]!]!));
  curves.set("alpha_t", of((alphaBar, next) => ratio(alphaBar, next)));
  curves.set("beta_t", of((alphaBar, next) => 1 - ratio(alphaBar, next)));
  curves.set("alpha_cumprod_t", of((alphaBar) => alphaBar));
  curves.set("snr", of((alphaBar) => ratio(alphaBar, 1 - alphaBar)));
}
