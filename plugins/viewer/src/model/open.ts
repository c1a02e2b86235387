// From files to runs: each run's file with the file of its attention.
import { FileProblem, type Hdf5, type Source } from "../reader/api";
import { openHdf5 } from "../reader/hdf5";
import type { Run } from "./api";
import { attentionOf, pairUp } from "./attention";
import { runOf, type RecordedRun } from "./trajectory";

const SUFFIX = ".attention.h5";

/** The run in a file, with the attention that stands in it or in a file beside it.
 *
 *  Raises `FileProblem` for a file that is no trajectory, and for attention of another run. */
export async function openRun(source: Source, attention?: Source): Promise<Run> {
  const run = await opened(await openHdf5(source));
  if (attention !== undefined) pairUp(run, await opened(await openHdf5(attention)));
  return run;
}

async function opened(file: Hdf5): Promise<RecordedRun> {
  const run = await runOf(file);
  run.attention = await attentionOf(run, run);
  return run;
}

/** The runs in some files, in the order of the files, and one line for each file that is none.
 *
 *  A file with attention and without states belongs to the run of the same configuration: the one of its name before
 *  others, and whatever attention the run's own file has. Without such a run it is one itself, which shows images and
 *  attention. */
export async function openTrajectories(sources: readonly Source[]): Promise<{ runs: Run[]; problems: string[] }> {
  const problems: string[] = [];
  const found: RecordedRun[] = [];
  for (const source of sources) {
    try {
      found.push(await opened(await openHdf5(source)));
    } catch (error) {
      if (!(error instanceof FileProblem)) throw error;
      problems.push(error.message);
    }
  }
  const runs = found.filter((run) => !isCaptured(run));
  for (const captured of found.filter(isCaptured)) {
    const same = runs.filter((run) => run.configHash === captured.configHash);
    const name = captured.source.name.replace(SUFFIX, ".h5");
    const run = same.find((each) => each.source.name === name) ?? same.find((each) => each.attention === undefined) ?? same[0];
    if (run === undefined) runs.splice(found.indexOf(captured), 0, captured);
    else if (run.beside !== undefined) {
      problems.push(`${captured.source.name} is left out: the attention of ${run.source.name} is that of ${run.beside.source.name}`);
    } else {
      try {
        pairUp(run, captured);
      } catch (error) {
        if (!(error instanceof FileProblem)) throw error;
        problems.push(error.message);
      }
    }
  }
  return { runs, problems };
}

function isCaptured(run: RecordedRun): boolean {
  return run.attention !== undefined && !run.fields.length;
}
