import { useEffect } from "preact/hooks";
import { keysShown, KEYS } from "../keys";
import { column, faster, lastColumn, playing, run, seek, speed, toggle } from "../state";
import { stepFacts } from "../words";

/** Moves the slider while the run plays, by the clock and not by the frames drawn, and stops at the final state. */
function usePlayback() {
  const on = playing.value;
  const rate = speed.value;
  useEffect(() => {
    if (!on) return undefined;
    const [from, start] = [column.peek(), performance.now()];
    let request = 0;
    const tick = (now: number) => {
      const to = from + Math.floor(((now - start) / 1000) * rate);
      if (to !== column.peek()) seek(to);
      if (to >= lastColumn.peek()) playing.value = false;
      else request = requestAnimationFrame(tick);
    };
    request = requestAnimationFrame(tick);
    return () => cancelAnimationFrame(request);
  }, [on, rate]);
}

/** One slider for the whole page: every panel shows the step that it stands at. */
export function Scrubber() {
  usePlayback();
  const opened = run.value;
  if (!opened) return null;
  const facts = stepFacts(opened, column.value);
  const said = `${facts.place}, timestep ${facts.timestep}, sigma ${facts.sigma}, signal ${facts.signal}`;
  const done = lastColumn.value === 0 ? 100 : (100 * column.value) / lastColumn.value;
  return (
    <section class="scrubber" aria-label="Steps of the run">
      <div class="scrubber-row">
        <button type="button" class="play" aria-label={playing.value ? "Pause" : "Play"} aria-keyshortcuts="Space" onClick={toggle}>
          <svg viewBox="0 0 20 20" aria-hidden="true">
            {playing.value ? <path d="M5 3h3.6v14H5zM11.4 3H15v14h-3.6z" /> : <path d="M5.5 2.8v14.4L17 10z" />}
          </svg>
        </button>
        <input type="range" data-steps aria-label="Step" min={0} max={lastColumn.value} step={1} value={column.value} aria-valuetext={said}
          style={{ "--done": `${done}%` }}
          onInput={(event) => {
            playing.value = false;
            seek(Number(event.currentTarget.value));
          }} />
        <div class="speed" role="group" aria-label="Speed">
          <button type="button" class="quiet" aria-label="Slower" aria-keyshortcuts="[" onClick={() => faster(-1)}>−</button>
          <span class="num">{speed.value}/s</span>
          <button type="button" class="quiet" aria-label="Faster" aria-keyshortcuts="]" onClick={() => faster(1)}>+</button>
        </div>
        <button type="button" class="quiet keys-button" aria-label="Keys" aria-expanded={keysShown.value} aria-keyshortcuts="?"
          onClick={() => (keysShown.value = !keysShown.value)}>?</button>
      </div>
      <dl class="facts num">
        <div class="facts-step"><dt class="hidden">Step</dt><dd>{facts.place}</dd></div>
        <div><dt>timestep</dt><dd>{facts.timestep}</dd></div>
        <div><dt><abbr title="sigma: noise for each unit of signal">σ</abbr></dt><dd>{facts.sigma}</dd></div>
        <div><dt>signal</dt><dd>{facts.signal}</dd></div>
      </dl>
    </section>
  );
}

/** What the keys do, over the page until it is closed. */
export function KeyList() {
  if (!keysShown.value) return null;
  return (
    <div class="keys" role="region" aria-label="Keys">
      <dl>
        {KEYS.map(([key, does]) => (
          <div key={key}><dt>{key}</dt><dd>{does}</dd></div>
        ))}
      </dl>
    </div>
  );
}
