import { useEffect, useRef, useState } from "preact/hooks";
import { problem } from "../../state";

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
