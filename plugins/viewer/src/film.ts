// The frames of a page of samples, read ahead so that the slider never waits: whole paths where they fit, else single columns.
import type { Field, Run } from "./model/api";

/** Bytes of frames that are kept: the page stays small whatever the file. */
const BUDGET = 64e6;
/** Reads under way at once: browsers open six connections to a server. */
const AT_ONCE = 6;

export class Film {
  readonly columns: number;
  readonly size: number;
  /** Whether all columns of all samples are kept, or only the latest read. */
  readonly whole: boolean;
  private readonly paths: (Float32Array | undefined)[];
  private readonly byColumn = new Map<number, Float32Array>();
  private readonly wanted = new Set<number>();
  private stopped = false;

  constructor(
    readonly run: Run,
    readonly field: Field,
    readonly positions: readonly number[],
    /** Called whenever there is more to show. */
    private readonly changed: () => void,
    budget = BUDGET,
  ) {
    this.size = run.shape.reduce((product, length) => product * length, 1);
    this.columns = run.kept.length + (field === "x" ? 1 : 0);
    this.paths = positions.map(() => undefined);
    this.whole = positions.length * this.columns * this.size * 4 <= budget;
    this.room = Math.max(2, Math.floor(budget / Math.max(1, positions.length * this.size * 4)));
  }

  private readonly room: number;

  /** Column of this field that stands for one of the slider: the last one for the final state, where the field has none. */
  private at(column: number): number {
    return Math.min(column, this.columns - 1);
  }

  /** One state, or undefined where it is not read yet. */
  frame(index: number, column: number): Float32Array | undefined {
    const at = this.at(column);
    const path = this.paths[index];
    if (path) return path.subarray(at * this.size, (at + 1) * this.size);
    return this.byColumn.get(at)?.subarray(index * this.size, (index + 1) * this.size);
  }

  /** Reads what the slider shows first, then everything that fits. Raises what reading raises. */
  async load(column: number): Promise<void> {
    if (!this.positions.length || this.columns === 0) return;
    await this.show(column);
    if (!this.whole) return;
    const queue = this.positions.map((_, index) => index);
    const worker = async () => {
      for (let index = queue.shift(); index !== undefined && !this.stopped; index = queue.shift()) {
        const position = this.positions[index];
        if (position === undefined || this.paths[index]) continue;
        this.paths[index] = await this.run.path(this.field, position);
        this.changed();
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    if (!this.stopped) this.byColumn.clear();
  }

  /** Reads one column of all samples, where it is not there; with `ahead` the next one too. */
  async show(column: number, ahead = 0): Promise<void> {
    for (const want of [this.at(column), this.at(column + ahead)]) {
      if (this.stopped || this.wanted.has(want) || this.byColumn.has(want) || this.paths.every(Boolean)) continue;
      this.wanted.add(want);
      try {
        const states = await this.run.states(this.field, this.positions, want);
        if (this.stopped) return;
        this.byColumn.set(want, states);
        // A Map keeps the order of insertion: the oldest goes first.
        for (const old of this.byColumn.keys()) {
          if (this.byColumn.size <= this.room) break;
          if (old !== want) this.byColumn.delete(old);
        }
        this.changed();
      } finally {
        this.wanted.delete(want);
      }
    }
  }

  /** No read after this one changes anything. */
  stop(): void {
    this.stopped = true;
  }
}
