import type { ComponentChildren } from "preact";

export interface PanelProps {
  readonly title: string;
  /** One sentence: what is seen, and in which units. */
  readonly says: string;
  /** Names of files and what makes them: PNG, SVG, CSV of what the panel shows. */
  readonly saves?: readonly { readonly name: string; readonly make: () => Promise<Blob> | Blob }[];
  readonly children: ComponentChildren;
}

/** A part of the page with its heading, one sentence that explains it, and what can be saved of it. */
export function Panel({ title, says, children }: PanelProps) {
  return (
    <section class="panel" aria-label={title}>
      <h2>{title}</h2>
      <p class="says">{says}</p>
      {children}
    </section>
  );
}
