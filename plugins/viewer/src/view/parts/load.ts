import { useEffect, useRef, useState } from "preact/hooks";
import type { Field, Run } from "../../model/api";
import { problem } from "../../state";
import { sizeOf, stateAt } from "./states";

interface Held<T> { readonly scope: readonly unknown[]; readonly order: number; readonly value: T }

const same = (one: readonly unknown[], two: readonly unknown[]) => one.length === two.length && one.every((each, at) => each === two[at]);

/**
 * What a panel reads, undefined until it comes. Of one scope (a run, a sample) the value of the moment before stays until
 * the next comes, so that a moving slider does not flicker; another scope begins with nothing.
 */
export function useLoaded<T>(make: () => Promise<T>, scope: readonly unknown[], moment: unknown = 0): T | undefined {
  const [held, hold] = useState<Held<T> | undefined>(undefined);
  const order = useRef(0);
  const mounted = useRef(true);
  useEffect(() => () => void (mounted.current = false), []);
  useEffect(() => {
    order.current += 1;
    const number = order.current;
    make().then(
      // Slow reads of a fast slider: what is newer than what is shown is shown, even when it is not the newest that was begun.
      (value) => mounted.current && hold((before) => (before && before.order > number ? before : { scope, order: number, value })),
      (error: unknown) => void (problem.value = error instanceof Error ? error.message : String(error)),
    );
  }, [...scope, moment]);
  return held && same(held.scope, scope) ? held.value : undefined;
}

/** Bytes of paths that a panel holds at once; beyond it, states are read one by one. */
const HELD = 32e6;

/** States of several fields of a sample at a column: cut from their paths without waiting, where these are small. */
export function useStates(run: Run, fields: readonly (Field | undefined)[], position: number, column: number): readonly (Float32Array | undefined)[] | undefined {
  const size = sizeOf(run);
  const scope = [run, position, fields.join()];
  const whole = 4 * size * run.kept.length * fields.length <= HELD;
  const paths = useLoaded(async () => (whole ? Promise.all(fields.map((field) => (field ? run.path(field, position) : undefined))) : undefined), scope);
  const single = useLoaded(
    async () => (whole ? undefined : Promise.all(fields.map((field) => (field ? stateAt(run, field, position, column) : undefined)))),
    scope, whole ? -1 : column,
  );
  return paths?.map((path) => path?.subarray(column * size, (column + 1) * size)) ?? single;
}
