// The model as a program: a test in Python names files and what it wants to know of them, and reads one line of JSON.
import { openAsBlob, readFileSync } from "node:fs";
import { FileProblem, type Source } from "../../src/reader/api";
import { fileSource } from "../../src/reader/source";
import type { Run } from "../../src/model/api";
import { balanceOf } from "../../src/model/ledger";
import { matchSamples, pairColumns, partingOf } from "../../src/model/align";
import { metricsOf } from "../../src/model/metrics";
import { openTrajectories } from "../../src/model/open";
import { firstCondition, tokenActivation } from "../../src/model/tokens";
import { rounded } from "../../src/model/vectors";
import { planeOf } from "../../src/work/pca";

interface Question { readonly files: readonly string[]; readonly position: number; readonly condition?: string }

async function sourceOf(path: string): Promise<Source> {
  return fileSource(await openAsBlob(path), path.slice(path.lastIndexOf("/") + 1));
}

async function attentionOf(run: Run, position: number, condition: string): Promise<unknown> {
  const attention = run.attention;
  if (attention === undefined) return undefined;
  const layers = await Promise.all(
    attention.layers.map(async (layer) => ({
      ...layer,
      maps: await Promise.all(run.kept.map((_, column) => attention.map(layer, position, column, condition))),
      entropy: await attention.entropy(layer, position, condition),
      activation: await attention.activation(layer, position, condition),
    })),
  );
  const tokens = await tokenActivation(run, position, condition);
  return { layers, conditions: attention.conditions, columns: attention.columns, positions: attention.positions, tokens, hidden: attention.hidden };
}

async function answer({ files, position, condition }: Question): Promise<unknown> {
  const { runs, problems } = await openTrajectories(await Promise.all(files.map(sourceOf)));
  const [run, other] = runs;
  if (run === undefined) return { problems };
  const done = run.samples.filter((sample) => sample.done && sample.row !== undefined);
  const size = run.shape.reduce((all, side) => all * side, 1);
  const own = run.fields.includes("x") ? await run.path("x", position) : undefined;
  const columns = other && pairColumns(run, other, "sigma");
  const match = other && matchSamples(run, other)[0];
  return {
    problems,
    runs: runs.map(({ name, samples, terms, shape, kept }) => ({ name, samples, terms, shape, kept })),
    pictures: await run.pictures(),
    image: (await run.image(position))?.rgba,
    states: Object.fromEntries(await Promise.all(run.fields.map(async (field) => [field, await run.path(field, position)]))),
    metrics: Object.fromEntries((await metricsOf(run, position, condition)).map(({ name, values }) => [name, values])),
    balance: await Promise.all(run.kept.map((_, column) => balanceOf(run, position, column))),
    attention: await attentionOf(run, position, condition ?? (run.attention && firstCondition(run.attention)) ?? ""),
    plane: own && (await planeOf([rounded(own.subarray(size))], size, "states")),
    paths: own && (await planeOf(await Promise.all(done.map((sample) => run.path("x", sample.position))), size, "unit")),
    columns,
    parting: match && columns && (await partingOf(run, other, match, columns)),
  };
}

function plain(_: string, value: unknown): unknown {
  if (ArrayBuffer.isView(value)) return Array.from(value as unknown as ArrayLike<number>);
  return value instanceof Map ? Object.fromEntries(value) : value;
}

const questions = JSON.parse(readFileSync(process.argv[2]!, "utf-8")) as readonly Question[];
for (const question of questions) {
  const found = await answer(question).catch((error: unknown) => {
    if (error instanceof FileProblem) return { problem: error.message };
    throw error;
  });
  process.stdout.write(`${JSON.stringify(found, plain)}\n`);
}
