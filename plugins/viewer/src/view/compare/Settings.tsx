import { useMemo } from "preact/hooks";
import type { Run } from "../../model/api";
import { differencesOf } from "./words";

/** Which settings of the two runs differ. */
export function Settings({ a, b }: { a: Run; b: Run }) {
  const found = useMemo(() => differencesOf(a, b), [a, b]);
  if (!found.length) {
    return <p class="empty">{a.configHash === b.configHash ? "Both runs have the same configuration, to the last setting." : "No setting of the two configurations differs."}</p>;
  }
  return (
    <div class="settings-scroll" tabIndex={0} role="region" aria-label="Settings that differ">
      <table class="settings num">
        <thead><tr><th scope="col">Setting</th><th scope="col" class="mark-a">A</th><th scope="col" class="mark-b">B</th></tr></thead>
        <tbody>
          {found.map((one) => (
            <tr key={one.name}><th scope="row">{one.name}</th><td>{one.a}</td><td>{one.b}</td></tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
