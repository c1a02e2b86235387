export interface ToggleProps<T extends string> {
  readonly label: string;
  readonly value: T;
  /** Value and word of each choice; a choice may be off, with the reason. */
  readonly choices: readonly (readonly [value: T, word: string])[];
  readonly onChange: (to: T) => void;
}

/** Two to four choices side by side, of which one holds. */
export function Toggle<T extends string>({ label, value, choices, onChange }: ToggleProps<T>) {
  return (
    <span class="toggle" role="group" aria-label={label}>
      {choices.map(([each, word]) => (
        <button key={each} type="button" aria-pressed={each === value} onClick={() => onChange(each)}>{word}</button>
      ))}
    </span>
  );
}
